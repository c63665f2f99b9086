//! A headless Chromium, driven by the DevTools protocol over a pipe: JSON messages, each ended by a NUL.

use std::{
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command, Stdio},
    sync::mpsc,
    time::Duration,
};

use serde_json::{Value, json};

/// Names under which it is installed.
const NAMES: [&str; 4] = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"];
const ANSWER_TIME_MAX: Duration = Duration::from_secs(20);

/// A browser with one tab.
pub struct Chromium {
    child: Child,
    input: ChildStdin,
    messages: mpsc::Receiver<Value>,
    session: Option<String>,
    last_id: u64,
    problems: Vec<String>,
    _profile: tempfile::TempDir,
}

impl Chromium {
    /// Where it is installed, if it is.
    pub fn find() -> Option<PathBuf> {
        let path = std::env::var_os("PATH")?;
        let dirs: Vec<PathBuf> = std::env::split_paths(&path).collect();
        NAMES.iter().flat_map(|name| dirs.iter().map(move |dir| dir.join(name))).find(|file| file.is_file())
    }

    /// Starts it with an empty tab.
    pub fn start(program: &Path) -> Self {
        let profile = tempfile::tempdir().expect("a directory");
        // The protocol speaks on descriptors 3 and 4; a shell can put them there.
        let mut child = Command::new("sh")
            .args(["-c", "exec \"$0\" \"$@\" 3<&0 4>&1 </dev/null >/dev/null 2>/dev/null"])
            .arg(program)
            .args(["--headless=new", "--remote-debugging-pipe", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"])
            .args(["--disable-background-networking", "--disable-component-update", "--disable-sync", "--hide-scrollbars"])
            .arg(format!("--user-data-dir={}", profile.path().display()))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("starts");
        let (input, output) = (child.stdin.take().expect("piped"), child.stdout.take().expect("piped"));
        let (sender, messages) = mpsc::channel();
        std::thread::spawn(move || {
            let mut output = BufReader::new(output);
            let mut message = Vec::new();
            while output.read_until(0, &mut message).is_ok_and(|read| read > 0) {
                message.pop();
                if serde_json::from_slice(&message).is_ok_and(|message| sender.send(message).is_err()) {
                    return;
                }
                message.clear();
            }
        });
        let mut browser = Self { child, input, messages, session: None, last_id: 0, problems: Vec::new(), _profile: profile };
        let target = browser.call("Target.createTarget", json!({ "url": "about:blank" }))["targetId"].clone();
        let session = browser.call("Target.attachToTarget", json!({ "targetId": target, "flatten": true }));
        browser.session = session["sessionId"].as_str().map(str::to_string);
        for domain in ["Page.enable", "Runtime.enable", "Log.enable"] {
            browser.call(domain, json!({}));
        }
        browser
    }

    /// Sends a command and waits for its answer; what the page complains about meanwhile is kept.
    pub fn call(&mut self, method: &str, params: Value) -> Value {
        self.last_id += 1;
        let mut command = json!({ "id": self.last_id, "method": method, "params": params });
        if let Some(session) = &self.session {
            command["sessionId"] = session.as_str().into();
        }
        let mut bytes = command.to_string().into_bytes();
        bytes.push(0);
        self.input.write_all(&bytes).expect("the browser lives");
        loop {
            let message = self.messages.recv_timeout(ANSWER_TIME_MAX).unwrap_or_else(|_| panic!("no answer to {method}"));
            self.note(&message);
            if message["id"] == self.last_id {
                assert!(message.get("error").is_none(), "{method}: {}", message["error"]);
                return message["result"].clone();
            }
        }
    }

    /// The value of an expression in the page; promises are awaited.
    pub fn eval(&mut self, expression: &str) -> Value {
        let answer = self.call("Runtime.evaluate", json!({ "expression": expression, "returnByValue": true, "awaitPromise": true }));
        assert!(answer.get("exceptionDetails").is_none(), "{expression}: {}", answer["exceptionDetails"]);
        answer["result"]["value"].clone()
    }

    /// Waits until an expression is true, and says how long that took.
    pub fn wait(&mut self, expression: &str, time_max: Duration) -> Duration {
        let promise = format!(
            "new Promise((done) => {{ const from = performance.now(); const look = () => ({expression}) ? done(performance.now() - from) \
             : performance.now() - from > {} ? done(null) : setTimeout(look, 10); look(); }})",
            time_max.as_millis()
        );
        let millis = self.eval(&promise).as_f64();
        Duration::from_secs_f64(millis.unwrap_or_else(|| panic!("not within {time_max:?}: {expression}")) / 1_000.0)
    }

    /// Opens an address and waits until the page is there.
    pub fn open(&mut self, url: &str) {
        self.call("Page.navigate", json!({ "url": url }));
        self.wait("document.readyState === 'complete' && location.href !== 'about:blank'", Duration::from_secs(10));
    }

    /// Presses a key, e.g. `Tab`, `Enter`, `/`.
    pub fn press(&mut self, key: &str) {
        let (code, text) = match key {
            "Tab" => (9, ""),
            "Enter" => (13, "\r"),
            "Escape" => (27, ""),
            text => (0, text),
        };
        for kind in ["keyDown", "keyUp"] {
            let mut event = json!({ "type": kind, "key": key, "code": key, "windowsVirtualKeyCode": code });
            if kind == "keyDown" && !text.is_empty() {
                event["text"] = text.into();
            }
            self.call("Input.dispatchKeyEvent", event);
        }
    }

    /// Sets width, height and colour scheme.
    pub fn look_like(&mut self, width: u32, height: u32, scheme: &str) {
        let mobile = width < 600;
        self.call(
            "Emulation.setDeviceMetricsOverride",
            json!({ "width": width, "height": height, "deviceScaleFactor": if mobile { 2 } else { 1 }, "mobile": mobile }),
        );
        let feature = json!([{ "name": "prefers-color-scheme", "value": scheme }]);
        self.call("Emulation.setEmulatedMedia", json!({ "features": feature }));
    }

    /// A picture of the whole page as PNG, in base64.
    pub fn picture(&mut self) -> String {
        let answer = self.call("Page.captureScreenshot", json!({ "format": "png", "captureBeyondViewport": true }));
        answer["data"].as_str().expect("a picture").to_string()
    }

    /// What the page complained about since the last call.
    pub fn problems(&mut self) -> Vec<String> {
        // Whatever was on its way has come with the answer.
        self.eval("1");
        std::mem::take(&mut self.problems)
    }

    fn note(&mut self, message: &Value) {
        let params = &message["params"];
        let is_error = match message["method"].as_str() {
            Some("Runtime.exceptionThrown") => true,
            Some("Runtime.consoleAPICalled") => params["type"] == "error" || params["type"] == "warning",
            Some("Log.entryAdded") => params["entry"]["level"] == "error" || params["entry"]["level"] == "warning",
            _ => false,
        };
        if is_error {
            self.problems.push(params.to_string());
        }
    }
}

impl Drop for Chromium {
    fn drop(&mut self) {
        // It may be gone already, which is what is wanted.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
