//! The published detector, step for step: VMFT-LAD (Senevirathne et al., IEEE Access 12:178951–178970, 2024).
//!
//! A window of m template ids is compared with the windows of the benign past by a distance over the *numbers* that the
//! template miner happened to give out, so its accuracy hangs on that numbering: for evaluation and comparison, never for
//! production. What decides is only the order in which stored windows are looked at, which is the array order of
//! Python's `heapq`; it is reproduced here comparison by comparison.

/// Parameters of the published method.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct VmftParams {
    /// Templates of a window.
    pub m: usize,
    /// Templates that are training.
    pub training: usize,
    /// Threshold τ: a distance above it asks for a verdict.
    pub tau: f64,
    /// Distance η at which a stored window counts as met, and the search ends.
    pub eta: f64,
}

impl VmftParams {
    /// m = 4, M = 150, η = min(τ, .05), as published.
    pub fn with_threshold(tau: f64) -> Self {
        Self { m: 4, training: 150, tau, eta: tau.min(0.05) }
    }

    /// The score of a window at `distance` from the past: a window that is far from it scores by the verdict on its
    /// templates alone, so that a harmless novelty scores 0.
    pub fn score(&self, distance: f64, is_any_faulty: bool) -> f64 {
        match distance <= self.tau {
            true => distance,
            false => f64::from(u8::from(is_any_faulty)),
        }
    }
}

/// A stored window. Its templates stand in [`Vmft::templates`].
#[derive(Clone, Copy, Debug)]
struct Stored {
    hits: u32,
    /// Where its templates begin.
    at: usize,
    /// Σ|b|, the divisor of its distance.
    sum: u64,
}

/// The detector for one sequence.
///
/// ```
/// use matrix_profile::{Vmft, VmftParams};
/// let mut vmft = Vmft::new(VmftParams { m: 2, training: 4, tau: 0.15, eta: 0.05 });
/// for id in [10, 20, 10, 20] {
///     assert_eq!(vmft.distance(id), None, "still in training");
/// }
/// assert_eq!(vmft.distance(10), Some(0.0), "the pair (20, 10) is known");
/// assert_eq!(vmft.distance(90), Some(1.0), "no pair with 90 is near");
/// ```
#[derive(Clone, Debug)]
pub struct Vmft {
    params: VmftParams,
    /// The templates of training, then the last m of them.
    recent: Vec<i64>,
    seen: usize,
    /// Stored windows in the array order of the heap.
    heap: Vec<Stored>,
    templates: Vec<i64>,
}

impl Vmft {
    /// A detector that has seen nothing.
    pub fn new(params: VmftParams) -> Self {
        Self { params, recent: Vec::new(), seen: 0, heap: Vec::new(), templates: Vec::new() }
    }

    /// The next template: the distance of the window that ends with it from the nearest stored window, none in training.
    pub fn distance(&mut self, template: i64) -> Option<f64> {
        self.pass(template);
        (self.seen > self.params.training).then(|| self.search())
    }

    /// The next template, without a look at the past. A search may move what it finds, so a row that is not asked about changes
    /// what later rows find first: the published counts leave out the row after training.
    pub fn pass(&mut self, template: i64) {
        self.recent.push(template);
        self.seen += 1;
        if self.seen == self.params.training {
            self.train();
        } else if self.seen > self.params.training {
            let surplus = self.recent.len().saturating_sub(self.params.m);
            self.recent.drain(..surplus);
        }
    }

    /// Windows stored.
    pub fn windows(&self) -> usize {
        self.heap.len()
    }

    fn train(&mut self) {
        let past = std::mem::take(&mut self.recent);
        for window in past.windows(self.params.m.max(1)) {
            if !self.templates.chunks(window.len()).any(|stored| stored == window) {
                let at = self.templates.len();
                self.templates.extend(window);
                self.push(Stored { hits: 1, at, sum: window.iter().map(|id| id.unsigned_abs()).sum() });
            }
        }
        self.recent = past.get(past.len().saturating_sub(self.params.m)..).unwrap_or_default().to_vec();
    }

    fn search(&mut self) -> f64 {
        let mut best = 1.0_f64;
        let mut met = None;
        for (index, stored) in self.heap.iter().enumerate() {
            let window = self.templates.get(stored.at..stored.at + self.recent.len()).unwrap_or_default();
            let distance = match stored.sum {
                0 => 1.0,
                sum => {
                    let apart: u64 = self.recent.iter().zip(window).map(|(a, b)| a.abs_diff(*b)).sum();
                    (apart as f64 / sum as f64).min(1.0)
                }
            };
            best = best.min(distance);
            if distance <= self.params.eta {
                met = Some(index);
                break;
            }
        }
        if let Some(stored) = met.and_then(|index| self.heap.get_mut(index)) {
            stored.hits = stored.hits.saturating_add(1);
            self.heapify();
        }
        best
    }

    /// Whether `a` stands before `b`: the key is −hits, and only "less than" is ever asked.
    fn is_before(a: &Stored, b: &Stored) -> bool {
        a.hits > b.hits
    }

    /// `heapq.heappush`.
    fn push(&mut self, stored: Stored) {
        self.heap.push(stored);
        self.sift_down(0, self.heap.len() - 1);
    }

    /// `heapq.heapify`.
    fn heapify(&mut self) {
        for index in (0..self.heap.len() / 2).rev() {
            self.sift_up(index);
        }
    }

    /// `heapq._siftdown`: the item at `index` rises while it stands before its parent, not above `top`.
    fn sift_down(&mut self, top: usize, mut index: usize) {
        while index > top {
            let parent = (index - 1) / 2;
            match (self.heap.get(index), self.heap.get(parent)) {
                (Some(item), Some(above)) if Self::is_before(item, above) => self.heap.swap(index, parent),
                _ => return,
            }
            index = parent;
        }
    }

    /// `heapq._siftup`: the smaller child rises until the item of `top` is at a leaf, then the item rises again. The right
    /// child is taken unless the left one is *less*, so equal hits prefer the right.
    fn sift_up(&mut self, top: usize) {
        let mut index = top;
        let mut child = 2 * index + 1;
        while child < self.heap.len() {
            if let (Some(left), Some(right)) = (self.heap.get(child), self.heap.get(child + 1)) {
                child += usize::from(!Self::is_before(left, right));
            }
            self.heap.swap(index, child);
            index = child;
            child = 2 * index + 1;
        }
        self.sift_down(top, index);
    }
}
