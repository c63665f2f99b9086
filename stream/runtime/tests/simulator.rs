//! The engine on the model bus: thousands of bad days, one per seed.

use stream_runtime::sim::{Options, describe, seeds_to_run, simulate};

#[test]
fn the_crash_law_holds_on_every_bad_day() {
    for seed in seeds_to_run(1_500) {
        if let Err(violation) = simulate(seed, &Options::default()) {
            panic!("SIM_SEED={seed}: {}", describe(&violation));
        }
    }
}
