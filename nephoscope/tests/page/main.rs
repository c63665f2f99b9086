//! The page in a real browser: quick, quiet, live, reachable by keyboard, readable, and safe with hostile logs.
//!
//! Without Chromium these tests are skipped, and say so. `NEPHOSCOPE_PICTURES=<directory>` keeps pictures of the page.

mod chromium;
mod instance;
mod routes;

use std::{io::Write, time::Duration};

use chromium::Chromium;
use instance::Instance;

const HOSTILE: &str = "<img src=x onerror=\"window.pwned=1\"><script>window.pwned=1</script> \u{202e}'\"&amp; <!--verdict-->";

/// An instance with some lines and an alert.
fn fed() -> Instance {
    let instance = Instance::start();
    for n in 0..200 {
        instance.send(6, ["web-1", "db-2"][n % 2], &format!("session {n} opened for user u{n}"));
        instance.send(4, "db-2", &format!("checkpoint took {n} ms"));
    }
    instance.send(6, "web-1", HOSTILE);
    instance.send(2, "db-2", "disk sda1 failed: password=hunter2 <b>bold</b>");
    instance
        .until(|overview| overview["lines"] == 402 && overview["openAlerts"][0].is_object() && overview["openIncidents"][0].is_object());
    instance
}

/// An instance with some lines and a browser that shows it; none where there is no browser.
fn opened() -> Option<(Instance, Chromium)> {
    let Some(program) = Chromium::find() else {
        let _ = writeln!(std::io::stderr(), "SKIPPED: no chromium in PATH");
        return None;
    };
    let instance = fed();
    let mut browser = Chromium::start(&program);
    browser.look_like(1280, 900, "light");
    browser.open(&instance.url());
    browser.wait("document.querySelector('.contact.live')", Duration::from_secs(5));
    Some((instance, browser))
}

#[test]
fn it_is_there_within_a_second_and_complains_about_nothing() {
    let Some((instance, mut browser)) = opened() else { return };
    browser.open(&instance.url());
    browser.wait("performance.getEntriesByName('first-contentful-paint').length", Duration::from_secs(5));
    let millis = browser.eval("performance.getEntriesByName('first-contentful-paint')[0].startTime").as_f64().expect("a number");
    let bytes = browser.eval("performance.getEntriesByType('resource').concat(performance.getEntriesByType('navigation')).reduce((sum, e) => sum + e.encodedBodySize, 0)");
    println!("first content after {millis:.0} ms, {bytes} bytes in all");
    assert!(millis < 1_000.0, "first content after {millis} ms");
    assert!(bytes.as_u64().is_some_and(|bytes| bytes < 150 << 10), "{bytes} bytes");
    assert_eq!(browser.eval("location.search"), "", "the token leaves the address");
    assert_eq!(browser.eval("performance.getEntriesByType('resource').filter((e) => !e.name.startsWith(location.origin)).length"), 0);
    // Some rounds of drawing.
    browser.wait(
        "performance.getEntriesByType('resource').filter((e) => e.name.endsWith('/api/overview')).length >= 3",
        Duration::from_secs(10),
    );
    assert_eq!(browser.problems(), Vec::<String>::new());
}

#[test]
fn what_happens_is_shown_within_two_seconds() {
    let Some((instance, mut browser)) = opened() else { return };
    let limit = Duration::from_secs(2);
    instance.send(1, "web-1", "kernel out of memory");
    let alert =
        browser.wait("[...document.querySelectorAll('#alerts .said')].some((said) => said.textContent.includes('out of memory'))", limit);
    assert!(browser.eval("document.title").as_str().is_some_and(|title| title.starts_with('(')));
    instance.send(6, "nat-9", "a line of a new host");
    let incident = browser.wait("document.querySelector('#incidents').textContent.includes('out of memory')", limit);
    let host = browser.wait("document.querySelector('#hosts').textContent.includes('nat-9')", limit);
    println!("alert on the page after {alert:?}, its incident after {incident:?} more, new host after {host:?}");
    browser.wait("document.querySelector('#templates').textContent.includes('a line of a new host')", limit);
    assert_eq!(browser.problems(), Vec::<String>::new());
}

#[test]
fn everything_is_reached_by_keyboard() {
    let Some((_instance, mut browser)) = opened() else { return };
    let tab_to = |browser: &mut Chromium, selector: &str| {
        let reached = (0..60).any(|_| {
            browser.press("Tab");
            browser.eval(&format!("document.activeElement.matches({selector:?})")) == true
        });
        assert!(reached, "{selector}");
    };
    tab_to(&mut browser, "#incidents > details > summary");
    assert_ne!(browser.eval("getComputedStyle(document.activeElement).outlineStyle"), "none", "focus is seen");
    browser.press("Enter");
    let whole =
        "document.querySelector('#incidents details[open] .causes li') && document.querySelector('#incidents details[open] .lines li')";
    browser.wait(whole, Duration::from_secs(5));
    let cause = browser.eval("document.querySelector('#incidents .causes li').textContent");
    assert!(cause.as_str().is_some_and(|cause| cause.contains("SevereLog, critical")), "{cause}");
    tab_to(&mut browser, "#incidents .alerts summary");
    browser.press("Enter");
    browser.wait("document.querySelector('#incidents .alerts details[open] .lines li')", Duration::from_secs(5));
    let line = browser.eval("document.querySelector('#incidents .alerts details[open] .lines li').textContent");
    let line = line.as_str().expect("text");
    assert!(line.contains("password=[redacted]") && line.contains("<b>bold</b>"), "{line}");

    browser.press("/");
    assert_eq!(browser.eval("document.activeElement.id"), "filter");
    for letter in ["c", "h", "e", "c", "k"] {
        browser.press(letter);
    }
    browser.wait("document.querySelectorAll('#templates button').length === 1", Duration::from_secs(5));
    tab_to(&mut browser, "#templates button");
    browser.press("Enter");
    browser.wait("document.querySelectorAll('#templates .lines li').length === 20", Duration::from_secs(5));
    // Focus outlives the next rounds of drawing.
    let looks = "performance.getEntriesByType('resource').filter((e) => e.name.endsWith('/api/overview')).length";
    let before = browser.eval(looks);
    browser.wait(&format!("{looks} >= {before} + 2"), Duration::from_secs(5));
    assert_eq!(browser.eval("document.activeElement.matches('#templates button[aria-expanded=true]')"), true);
    assert_eq!(browser.eval("document.querySelector('#incidents .alerts details').open"), true);
    keep_picture(&mut browser, "opened");
    browser.press("/");
    browser.press("Escape");
    browser.wait("document.querySelectorAll('#templates button').length > 1", Duration::from_secs(5));
    assert_eq!(browser.problems(), Vec::<String>::new());
}

#[test]
fn log_content_is_shown_and_never_interpreted() {
    let Some((instance, mut browser)) = opened() else { return };
    let shown = "[...document.querySelectorAll('#templates .text')].some((cell) => cell.textContent.includes('onerror'))";
    browser.wait(shown, Duration::from_secs(5));
    assert_eq!(browser.eval("document.querySelectorAll('img, .alert b b, tbody script').length"), 0);
    assert_eq!(browser.eval("window.pwned === undefined"), true);
    // The same without the script, as a terminal browser sees it.
    let html = instance.get("/");
    assert!(html.contains("&lt;img src=x onerror=") && !html.contains("<img") && !html.contains("<script>"));
    assert!(html.contains("password=[redacted]") && !html.contains("hunter2"));
    for part in [
        "1 incident is open, severity critical",
        "probable cause service/app; on db-2; 1 alert",
        "How it went",
        "402 lines from 2 hosts",
        "syslog.sock",
        "drain",
        "checkpoint took",
    ] {
        assert!(html.contains(part), "{part}");
    }
    assert_eq!(browser.problems(), Vec::<String>::new());
}

/// All texts whose contrast to what is behind them is below that of WCAG 2.2, 1.4.3 (AA).
const TOO_FAINT: &str = r#"(() => {
  const rgb = (color) => color.match(/[\d.]+/g).map(Number);
  const light = ([r, g, b]) => [r, g, b].map((c) => c / 255).map((c) => c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4)
    .reduce((sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i], 0);
  const ground = (node) => { for (; node; node = node.parentElement) { const c = rgb(getComputedStyle(node).backgroundColor); if (c.length < 4 || c[3] > 0) return c; } return [255, 255, 255]; };
  const found = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const node = walker.currentNode.parentElement;
    if (!walker.currentNode.data.trim() || !node.getClientRects().length) continue;
    const style = getComputedStyle(node), [a, b] = [light(rgb(style.color)), light(ground(node))].sort((x, y) => y - x);
    const size = parseFloat(style.fontSize), large = size >= 24 || (size >= 18.66 && style.fontWeight >= 700);
    const ratio = (a + 0.05) / (b + 0.05);
    if (ratio < (large ? 3 : 4.5)) found.push(`${ratio.toFixed(2)} ${walker.currentNode.data.slice(0, 40)}`);
  }
  return found;
})()"#;

#[test]
fn it_is_readable_in_both_schemes_and_on_a_phone() {
    let Some((instance, mut browser)) = opened() else { return };
    for host in ["web-1", "web-2"] {
        instance.send(2, host, "cannot reach db-2:5432, giving up: connection refused");
    }
    browser.wait("document.querySelector('#incidents').textContent.includes('3 alerts')", Duration::from_secs(15));
    keep_picture(&mut browser, "first");
    browser.eval("document.querySelector('#incidents summary').click()");
    browser.wait("document.querySelectorAll('#incidents .alerts .alert').length === 3", Duration::from_secs(5));
    browser.eval("document.querySelector('#incidents .alerts summary').click()");
    browser.wait("document.querySelector('#incidents .alerts .lines li')", Duration::from_secs(5));
    for (width, height, scheme) in [(1280, 900, "light"), (1280, 900, "dark"), (390, 844, "light"), (390, 844, "dark"), (320, 640, "light")]
    {
        browser.look_like(width, height, scheme);
        assert_eq!(browser.eval(TOO_FAINT), serde_json::json!([]), "{width} {scheme}");
        let overflow = browser.eval("document.documentElement.scrollWidth - document.documentElement.clientWidth");
        assert_eq!(overflow, 0, "nothing is wider than {width}");
        let small = "[...document.querySelectorAll('body *')].filter((n) => n.getClientRects().length && n.textContent.trim() && parseFloat(getComputedStyle(n).fontSize) < 11.5).length";
        assert_eq!(browser.eval(small), 0, "no text is tiny");
        keep_picture(&mut browser, &format!("{width}-{scheme}"));
    }
    assert_eq!(
        browser.eval(
            "document.querySelectorAll('section:not([aria-label]):not([aria-labelledby]), svg:not([aria-label]), input:not([id])').length"
        ),
        0
    );
}

fn keep_picture(browser: &mut Chromium, name: &str) {
    #[allow(clippy::disallowed_methods, reason = "a test of a person, not of the program")]
    let Ok(dir) = std::env::var("NEPHOSCOPE_PICTURES") else { return };
    let picture = base64::Engine::decode(&base64::engine::general_purpose::STANDARD, browser.picture()).expect("base64");
    std::fs::write(std::path::Path::new(&dir).join(format!("{name}.png")), picture).expect("writes");
}
