//! The weights that are compiled in are those of the grammar that lies beside them.

use verdict::{FailureClass, Model, WEIGHTS_BYTES, Weights, training};

#[test]
fn training_again_changes_nothing() {
    let trained = training::shipped(|_| true).expect("the grammar is understood");
    assert_eq!(trained.to_bytes().len(), WEIGHTS_BYTES);
    assert!(trained == Weights::shipped(), "weights/linear.bin is old: cargo run --release -p nephoscope-verdict --example train");
}

/// Sentences of our own that stand in no file of the grammar.
#[test]
fn it_tells_failures_from_daily_work_in_words_that_it_was_not_taught() {
    let model = Model::shipped();
    let faulty = [
        ("the drive in bay <*> reports unrecoverable media errors", FailureClass::Disk),
        ("host is running out of memory, killing largest process", FailureClass::Memory),
        ("cpu core <*> locked up for <*> seconds", FailureClass::Cpu),
        ("uplink <*> lost carrier, no route to gateway", FailureClass::Network),
        ("payment service crashed with unhandled exception", FailureClass::Software),
    ];
    for (text, class) in faulty {
        let judged = model.judge(text);
        assert!(judged.probability > 0.5, "{text}: {judged:?}");
        assert_eq!(judged.class, class, "{text}: {judged:?}");
    }
    for text in
        ["nightly report sent to <*>", "user <*> opened a new session", "rotation of the error log finished", "cache warmed in <*> ms"]
    {
        let judged = model.judge(text);
        assert!(judged.probability < 0.3, "{text}: {judged:?}");
    }
}
