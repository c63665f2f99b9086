use super::*;

fn read(line: &str) -> (Structure, String) {
    let mut structure = Structure::default();
    structure.read(line, &Masker::new(&[]).unwrap());
    let sentence = structure.sentence(line).to_owned();
    (structure, sentence)
}

fn fields(structure: &Structure, line: &str) -> Vec<(String, String, ParamType)> {
    let source = structure.source(line);
    let text = |(start, end): (usize, usize)| source[start..end].to_owned();
    structure.fields().iter().map(|field| (field.name.map_or("-".into(), text), text(field.value), field.kind)).collect()
}

fn field(name: &str, value: &str, kind: ParamType) -> (String, String, ParamType) {
    (name.into(), value.into(), kind)
}

#[test]
fn the_sentence_of_a_json_line_is_parsed_and_the_rest_is_named() {
    let line = r#" {"time":"2026-05-03T10:00:00Z","level":"warn","msg":"disk \"sda\" is \u0066ull\u00e9","used":0.97,"on":{"a":["}",1]},"ok":true} "#;
    let (structure, sentence) = read(line);
    assert_eq!((sentence.as_str(), structure.severity), ("disk \"sda\" is fullé", Some(4)));
    let expected = [
        field("time", "2026-05-03T10:00:00Z", ParamType::Date),
        field("level", "warn", ParamType::Word),
        field("used", "0.97", ParamType::Number),
        field("on", r#"{"a":["}",1]}"#, ParamType::Text),
        field("ok", "true", ParamType::Word),
    ];
    assert_eq!(fields(&structure, line), expected);
}

#[test]
fn message_goes_before_msg_before_log_before_event_wherever_they_stand() {
    assert_eq!(read(r#"{"event":"d","log":"c","msg":"b","message":"a"}"#).1, "a");
    assert_eq!(read(r#"{"event":"d","log":"c","msg":"b"}"#).1, "b");
    assert_eq!(read(r#"{"event":{"kind":"x"},"log":"c"}"#).1, "c");
    assert_eq!(read(r#"{"event":"d","message":7}"#).1, "d", "only a text is a sentence");
}

#[test]
fn without_a_sentence_the_sorted_keys_are_the_event() {
    let (structure, sentence) = read(r#"{"path":"/a/b","bytes":12,"duration_ms":3,"bytes":13}"#);
    assert_eq!((sentence.as_str(), structure.fields().len()), ("bytes=<*> duration_ms=<*> path=<*>", 4));
    assert_eq!(read("c=1 b=x a=\"y z\"").1, "a=<*> b=<*> c=<*>");
}

#[test]
fn json_within_json_is_unwrapped_but_not_for_ever() {
    let docker = r#"{"log":"{\"level\":\"error\",\"msg\":\"no route to 10.0.0.1\",\"try\":3}\n","stream":"stdout"}"#;
    let (structure, sentence) = read(docker);
    assert_eq!((sentence.as_str(), structure.severity), ("no route to 10.0.0.1", Some(3)));
    let names: Vec<String> = fields(&structure, docker).into_iter().map(|(name, ..)| name).collect();
    assert_eq!(names, ["stream", "level", "try"]);
    let mut deep = "end".to_owned();
    for _ in 0..6 {
        deep = serde_json::json!({ "msg": deep }).to_string();
    }
    assert!(read(&deep).1.starts_with(r#"{"msg":"#), "the fourth layer is text");
}

#[test]
fn logfmt_must_cover_the_line() {
    let line = r#"ts=2026-05-03T10:00:00Z level=info msg="user \"ada\" logged in" took=3ms empty="#;
    let (structure, sentence) = read(line);
    assert_eq!((sentence.as_str(), structure.severity), ("user \"ada\" logged in", Some(6)));
    assert_eq!(fields(&structure, line)[2], field("took", "3ms", ParamType::Quantity));
    for plain in ["a=1 b=2", "a=1, b=2, c=3", "set a=1 b=2 c=3", "a=1 b=2 c=3 done", "a=1 b=2 c=\"x", "a==1 b=2 c=3", "1=a 2=b 3=c"] {
        assert_eq!(read(plain).1, plain);
    }
}

#[test]
fn the_first_line_is_the_event_and_the_frames_are_its_stack() {
    let java = "request 17 failed\njava.io.IOException: disk\n\tat a.b.C.d(C.java:5)\nCaused by: x\n";
    let (structure, sentence) = read(java);
    assert_eq!(sentence, "request 17 failed");
    assert_eq!(fields(&structure, java), [field("-", &java[18..java.len() - 1], ParamType::Stack)]);
    let python = "Traceback (most recent call last):\n  File \"a.py\", line 3, in <module>\n    f()\nValueError: 5";
    assert_eq!(read(python).1, "Traceback (most recent call last):");
    let json = r#"{"msg":"boom","n":1,"log":"x"}"#.replace("boom", r"boom\n\tat a.b(C.java:5)");
    let (structure, sentence) = read(&json);
    assert_eq!((sentence.as_str(), fields(&structure, &json).last()), ("boom", Some(&field("-", "\tat a.b(C.java:5)", ParamType::Stack))));
    for plain in ["two\nlines", "look at this", "\tat a.b.C.d(C.java:5)", "files:\nFile \"a\" is gone"] {
        assert_eq!(read(plain).1, plain);
    }
}

#[test]
fn what_is_not_well_formed_is_a_plain_line() {
    for plain in [
        "{",
        "{}",
        "{\"a\"",
        "{\"a\":1",
        "{\"a\":1}x",
        "{\"a\" 1}",
        "{a:1}",
        "{\"a\":01x}",
        "{\"a\":[}]}",
        "{\"a\":\"\\",
        "{\"a\":tru}",
        "{\"a\":1,}",
        "{\"a\":}",
    ] {
        let (structure, sentence) = read(plain);
        assert_eq!((sentence.as_str(), structure.fields().len()), (plain, 0));
    }
    let deep = format!("{{\"a\":{}1{}}}", "[".repeat(65), "]".repeat(65));
    assert_eq!(read(&deep).1, deep);
    let less_deep = format!("{{\"a\":{}1{}}}", "[".repeat(64), "]".repeat(64));
    assert_eq!(read(&less_deep).1, "a=<*>");
}

#[test]
fn escapes_without_meaning_do_no_harm() {
    assert_eq!(read(r#"{"msg":"\ud83d\ude00 \ud83d \udc00x \u12 \q"}"#).1, "😀 \u{fffd} \u{fffd}x \u{fffd}12 q");
}

#[test]
fn many_and_long_fields_are_cut() {
    let many: Vec<String> = (0..500).map(|k| format!("\"k{k:03}\":{k}")).collect();
    let line = format!("{{{},\"msg\":\"late\"}}", many.join(","));
    let (structure, sentence) = read(&line);
    assert_eq!((sentence.as_str(), structure.fields().len(), structure.is_truncated), ("late", PARAMS_MAX, true));
    let wordy = format!("{{\"msg\":\"{}\"}}", "word ".repeat(9_000));
    assert!(read(&wordy).1.len() <= SENTENCE_BYTES_MAX && read(&wordy).0.is_truncated);
    let long = format!("{{\"msg\":\"m\",\"a\":\"{}\",\"b\":\"{}\"}}", "é".repeat(400), "\\n".repeat(400));
    let (structure, _) = read(&long);
    assert!(structure.is_truncated && fields(&structure, &long).iter().all(|(_, value, _)| value.len() <= VALUE_BYTES_MAX));
}
