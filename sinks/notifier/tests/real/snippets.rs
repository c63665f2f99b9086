//! Every snippet of the documentation is a configuration that the real program takes.

use std::{path::Path, process::Command};

/// The TOML blocks of a page.
fn snippets(page: &str) -> Vec<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(page);
    let text = std::fs::read_to_string(path).expect("is there");
    let blocks = text.split("```toml\n").skip(1);
    blocks.filter_map(|block| block.split("```").next()).filter(|block| block.contains("[notifier")).map(String::from).collect()
}

#[test]
fn every_snippet_is_taken() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut taken = 0;
    for page in ["docs/notifications.md", "README.md"] {
        let snippets = snippets(page);
        assert!(!snippets.is_empty(), "{page} shows how");
        for snippet in snippets {
            let file = folder.path().join("n.toml");
            std::fs::write(&file, &snippet).expect("writes");
            let mut command = Command::new(env!("CARGO_BIN_EXE_nephoscope-notifier"));
            let output = command.arg("--config").arg(&file).arg("--print-config").output().expect("runs");
            assert!(output.status.success(), "{page}:\n{snippet}\n{}", String::from_utf8_lossy(&output.stderr));
            taken += 1;
        }
    }
    assert!(taken >= 9, "one of each destination and the README's: {taken}");
}
