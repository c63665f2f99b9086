//! Verdicts as CSV: what an export writes, an import reads; and tables of other origin, if their columns are named.

use anyhow::{Context, bail};
use schemas::{EventTime, FailureClass, TemplateId, Verdict, VerdictKind, VerdictScope, canonical};

use crate::cli::VerdictsImport;

/// Rows of a file: as many as the processors keep.
const ROWS_MAX: usize = verdict::ENTRIES_MAX;
/// Who gave an imported verdict.
const IMPORT: &str = "import";
/// Columns of an export, in order.
const COLUMNS: [&str; 9] = ["template_id", "template", "verdict", "failure_class", "scope", "provider", "decided_at", "actor", "reason"];

/// Reads the whole file, or says which line cannot be read. The last word on a template is the one that counts.
///
/// # Errors
/// If the file cannot be read, a column is missing or a line cannot be meant.
pub(super) fn read(args: &VerdictsImport, actor: &str, now: EventTime) -> anyhow::Result<Vec<(TemplateId, Verdict)>> {
    let shown = args.file.display();
    let file = std::fs::File::open(&args.file).with_context(|| format!("cannot read {shown}"))?;
    let name = args.file.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
    let is_own = args.scope() == VerdictScope::Operator;
    let mut reader = csv::ReaderBuilder::new().flexible(false).from_reader(file);
    let heads = reader.headers().with_context(|| format!("cannot read {shown}"))?.clone();
    let column = |name: &str| heads.iter().position(|head| head.trim().trim_start_matches('\u{feff}') == name);
    let required = |name: &str, option: &str| {
        let there = || heads.iter().collect::<Vec<_>>().join(", ");
        column(name).with_context(|| format!("{shown}: expected a column {name:?}, found {}; {option} names another", there()))
    };
    let text_at = required(&args.template_column, "--template-column")?;
    let word_at = required(&args.verdict_column, "--verdict-column")?;
    let (class_at, reason_at) = (column("failure_class"), column("reason"));
    let mut words = std::collections::BTreeMap::new();
    for (line, row) in (2..).zip(reader.records()) {
        let row = row.with_context(|| format!("cannot read {shown}"))?;
        let field = |at: Option<usize>| at.and_then(|at| row.get(at)).map(str::trim).filter(|field| !field.is_empty());
        let (text, word) = (canonical(field(Some(text_at)).unwrap_or_default()), field(Some(word_at)).unwrap_or_default());
        if text.is_empty() {
            bail!("{shown}, row {line}: expected a template text in column {:?}, found none", args.template_column);
        }
        let Some(verdict) = kind(word) else {
            bail!(
                "{shown}, row {line}: expected faulty, normal, unsure, true, false, 1 or 0 in column {:?}, found {word:?}",
                args.verdict_column
            );
        };
        let failure_class = match field(class_at) {
            None => FailureClass::Unknown,
            Some(name) => class(name).with_context(|| {
                format!("{shown}, row {line}: expected a failure class such as disk or buffer_io, or nothing, found {name:?}")
            })?,
        };
        let id = TemplateId::of(&text);
        let word = Verdict {
            template_id: id.to_string(),
            template: text,
            verdict,
            failure_class,
            probability: probability(verdict),
            provider: if is_own { "operator" } else { IMPORT }.into(),
            model_version: name.clone(),
            reason: field(reason_at).map(Into::into),
            decided_at: now.micros(),
            actor: Some(actor.into()),
        };
        words.insert(id, word);
        if words.len() > ROWS_MAX {
            bail!("{shown}: expected at most {ROWS_MAX} templates, found more");
        }
    }
    Ok(words.into_iter().collect())
}

/// Everything given as CSV.
///
/// # Errors
/// Never in fact: the rows are texts of equal number.
pub(super) fn write<'a>(given: impl Iterator<Item = (VerdictScope, &'a Verdict)>) -> anyhow::Result<String> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    writer.write_record(COLUMNS)?;
    for (scope, word) in given {
        let (at, class) = (EventTime::from_micros(word.decided_at).to_string(), word.failure_class);
        let (actor, reason) = (word.actor.as_deref().unwrap_or_default(), word.reason.as_deref().unwrap_or_default());
        let class = if class == FailureClass::Unknown { "" } else { class.name() };
        writer.write_record([
            &word.template_id,
            &word.template,
            word.verdict.name(),
            class,
            scope.name(),
            &word.provider,
            &at,
            actor,
            reason,
        ])?;
    }
    Ok(String::from_utf8(writer.into_inner()?)?)
}

fn kind(word: &str) -> Option<VerdictKind> {
    match word.to_ascii_lowercase().as_str() {
        "faulty" | "true" | "1" => Some(VerdictKind::Faulty),
        "normal" | "false" | "0" => Some(VerdictKind::Normal),
        "unsure" => Some(VerdictKind::Unsure),
        _ => None,
    }
}

fn class(name: &str) -> Option<FailureClass> {
    use FailureClass::{BufferIo, Cpu, Disk, Memory, Network, Software, Unknown};
    [Unknown, Disk, BufferIo, Cpu, Memory, Network, Software].into_iter().find(|class| class.name() == name.to_ascii_lowercase())
}

fn probability(word: VerdictKind) -> f64 {
    verdict::Judgement::said(word).unwrap_or(0.5)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn imported(content: &str, template_column: &str, verdict_column: &str) -> anyhow::Result<Vec<(TemplateId, Verdict)>> {
        let dir = tempfile::tempdir().expect("a directory");
        let file = dir.path().join("table.csv");
        std::fs::write(&file, content).expect("writes");
        let (template_column, verdict_column) = (template_column.into(), verdict_column.into());
        let args = VerdictsImport { file, template_column, verdict_column, as_operator: false, by: None, dry_run: false };
        read(&args, "ann", EventTime::from_millis(1_700_000_000_000))
    }

    #[test]
    fn what_is_exported_can_be_imported() {
        let word = Verdict {
            template: "a \"quoted\", <*>".into(),
            template_id: TemplateId::of("a \"quoted\", <*>").to_string(),
            verdict: VerdictKind::Faulty,
            failure_class: FailureClass::BufferIo,
            reason: Some("because\nof it".into()),
            ..Verdict::default()
        };
        let sheet = write([(VerdictScope::Operator, &word)].into_iter()).expect("writes");
        let back = imported(&sheet, "template", "verdict").expect("reads");
        let [(id, read)] = back.as_slice() else { panic!("one row: {back:?}") };
        assert_eq!(id.to_string(), word.template_id);
        let said = |word: &Verdict| (word.template.clone(), word.verdict, word.failure_class, word.reason.clone());
        assert_eq!(said(read), said(&word));
        assert_eq!((read.provider.as_str(), read.model_version.as_str(), read.actor.as_deref()), (IMPORT, "table.csv", Some("ann")));
    }

    #[test]
    fn tables_of_other_origin_are_read_by_their_columns_and_placeholders() {
        let words = imported("key,text,is_bad\n1,took <:NUM:> ms,False\n2,  disk <*>  gone,TRUE\n", "text", "is_bad").expect("reads");
        let mut said: Vec<_> = words.iter().map(|(_, word)| (word.template.as_str(), word.verdict, word.probability)).collect();
        said.sort_by(|a, b| a.0.cmp(b.0));
        assert_eq!(said, [("disk <*> gone", VerdictKind::Faulty, 0.97), ("took <*> ms", VerdictKind::Normal, 0.03)]);
    }

    #[test]
    fn a_file_that_cannot_be_meant_is_refused_whole_with_the_place() {
        for (content, says) in [
            ("text,verdict\na,normal\n", "expected a column \"template\", found text, verdict; --template-column"),
            ("template,verdict\na,normal\nb,maybe\n", "row 3: expected faulty, normal, unsure"),
            ("template,verdict\n ,normal\n", "row 2: expected a template text"),
            ("template,verdict,failure_class\na,faulty,toaster\n", "found \"toaster\""),
            ("template,verdict\na\n", "cannot read"),
        ] {
            let error = format!("{:#}", imported(content, "template", "verdict").expect_err(content));
            assert!(error.contains(says), "{error}");
        }
    }
}
