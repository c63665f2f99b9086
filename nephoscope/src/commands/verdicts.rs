//! `verdicts`: what is thought of each kind of line, why, and how a person changes it.

mod book;
mod sheet;

use anyhow::bail;
use schemas::{EventTime, TemplateId, Verdict, VerdictKind, VerdictScope, topics};
use serde::Serialize;
use stream_runtime::time::wall_clock;
use verdict::{Judgement, Provider};

pub(super) use book::Book;

use crate::{
    cli::{VerdictsImport, VerdictsList, VerdictsSet, VerdictsUndo, WordArg},
    moment::ago,
    origin::Origin,
    output::{BAD, Cell, FAINT, GOOD, Output, PLAIN, Table, WARN, plain, styled},
    person,
    publication::Publication,
    redact::Redactor,
};

/// Probability from which the local model's guess reads as faulty: from here on drain tells errors at once.
const FAULTY_FROM: f64 = 0.8;
/// Probability up to which it reads as normal.
const NORMAL_TO: f64 = 0.2;
/// Bytes of a reason.
const REASON_BYTES_MAX: usize = 1_024;

/// What is thought of one template.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Row {
    template_id: String,
    template: String,
    verdict: &'static str,
    probability: f64,
    failure_class: &'static str,
    provider: &'static str,
    /// The word that is heard, if somebody gave one.
    #[serde(skip_serializing_if = "Option::is_none")]
    given: Option<Given>,
}

/// Who gave a word, when and why.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Given {
    /// operator, import, endpoint.
    provider: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    model_version: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    actor: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    decided_at: EventTime,
}

impl Row {
    fn of(id: TemplateId, text: &str, judgement: Judgement, given: Option<&Verdict>) -> Self {
        let word = given.map_or_else(|| guess(judgement.probability), |given| given.verdict);
        Self {
            template_id: id.to_string(),
            template: text.into(),
            verdict: word.name(),
            probability: judgement.probability,
            failure_class: judgement.class.name(),
            provider: judgement.provider.name(),
            given: given.map(|given| Given {
                provider: given.provider.clone(),
                model_version: given.model_version.clone(),
                actor: given.actor.clone(),
                reason: given.reason.clone(),
                decided_at: EventTime::from_micros(given.decided_at),
            }),
        }
    }

    fn why(&self, now: EventTime) -> String {
        let Some(given) = &self.given else { return "its text".into() };
        let who = given.actor.as_deref().filter(|_| given.provider != "endpoint").unwrap_or(&given.model_version);
        let reason = given.reason.as_deref().map_or_else(String::new, |reason| format!(": {reason}"));
        plain(&format!("{who}, {}{reason}", ago(given.decided_at, now)))
    }
}

/// The local model's probability as a word.
fn guess(probability: f64) -> VerdictKind {
    match probability {
        p if p >= FAULTY_FROM => VerdictKind::Faulty,
        p if p <= NORMAL_TO => VerdictKind::Normal,
        _ => VerdictKind::Unsure,
    }
}

/// Lists templates by what is thought of them.
pub fn list(args: &VerdictsList, origin: &Origin, redactor: &Redactor, out: &mut Output) -> anyhow::Result<()> {
    let book = Book::read(origin)?;
    let mut rows: Vec<Row> = book.judged().map(|(id, text, judgement, given)| Row::of(id, text, judgement, given)).collect();
    let wanted = args.verdict.map(|word| VerdictKind::from(word).name());
    rows.retain(|row| wanted.is_none_or(|word| row.verdict == word) && (!args.given || row.given.is_some()));
    rows.sort_by(|a, b| b.probability.total_cmp(&a.probability).then_with(|| a.template_id.cmp(&b.template_id)));
    let total = rows.len();
    rows.truncate(args.limit);
    rows.iter_mut().for_each(|row| redactor.string(&mut row.template));
    if out.is_json() {
        return Ok(out.document(&rows)?);
    }
    if rows.is_empty() {
        return Ok(out.line("no such verdicts: nothing has been read yet, or nothing of that kind")?);
    }
    let now = wall_clock();
    let mut table = Table::new(&["TEMPLATE ID", "VERDICT", ">P", "CLASS", "SAYS", "WHY", "TEMPLATE"]);
    for row in &rows {
        let style = match row.verdict {
            "faulty" => BAD,
            "normal" => GOOD,
            _ => WARN,
        };
        table.row([
            Cell::styled(FAINT, row.template_id.clone()),
            Cell::styled(style, row.verdict),
            format!("{:.2}", row.probability).into(),
            row.failure_class.into(),
            Cell::styled(if row.given.is_some() { PLAIN } else { FAINT }, row.provider),
            row.why(now).into(),
            plain(&row.template).into(),
        ]);
    }
    out.table(&table)?;
    if total > rows.len() {
        out.line(styled(FAINT, format!("{} more; --limit {total} shows them all", total - rows.len())))?;
    }
    Ok(())
}

/// Records a person's word.
pub fn set(args: &VerdictsSet, origin: &Origin, out: &mut Output) -> anyhow::Result<()> {
    if let Some(reason) = args.reason.as_ref().filter(|reason| reason.len() > REASON_BYTES_MAX) {
        bail!("--reason: expected at most {REASON_BYTES_MAX} bytes, found {}", reason.len());
    }
    if args.class.is_some() && args.verdict == WordArg::Normal {
        bail!("--class says what is failing, and a normal line tells of no failure: leave one of them out");
    }
    let book = Book::read(origin)?;
    let (id, text) = book.find(&args.template)?;
    let word = Verdict {
        template_id: id.to_string(),
        template: text.into(),
        verdict: args.verdict.into(),
        failure_class: args.class.map(Into::into).unwrap_or_default(),
        provider: Provider::Operator.name().into(),
        reason: args.reason.clone(),
        decided_at: wall_clock().micros(),
        actor: Some(person::named(args.by.as_deref())?),
        ..Verdict::default()
    };
    let (word, judgement) = book.with(VerdictScope::Operator, word)?;
    Publication::to(topics::LOGS_VERDICTS).avro(&VerdictScope::Operator.key(id), &word)?.send(origin, "giving a verdict")?;
    tell(id, text, judgement, Some(&word), out)
}

/// Takes a word back.
pub fn undo(args: &VerdictsUndo, origin: &Origin, out: &mut Output) -> anyhow::Result<()> {
    let mut book = Book::read(origin)?;
    let (id, text) = book.find(&args.template).map(|(id, text)| (id, text.to_string()))?;
    let scope = args.scope();
    if !book.take_back(id, scope)? {
        let (whose, hint) = match scope {
            VerdictScope::Operator => ("no operator has", "; --table takes back what was imported or answered"),
            VerdictScope::Model => ("the table has not", ""),
        };
        bail!("{whose} said anything of template {id}{hint}; `nephoscope verdicts list --given` shows who did");
    }
    Publication::to(topics::LOGS_VERDICTS).tombstone(&scope.key(id)).send(origin, "taking a verdict back")?;
    let (judgement, given) = book.judge(id, &text);
    tell(id, &text, judgement, given, out)
}

fn tell(id: TemplateId, text: &str, judgement: Judgement, given: Option<&Verdict>, out: &mut Output) -> anyhow::Result<()> {
    let row = Row::of(id, text, judgement, given);
    if out.is_json() {
        return Ok(out.document(&row)?);
    }
    let Row { template_id, verdict, probability, failure_class, provider, .. } = &row;
    let class = if *probability > 0.5 { format!(", {failure_class}") } else { String::new() };
    Ok(out.line(format!("{template_id} is {verdict} (p {probability:.2}{class}), says {provider}: {}", plain(text)))?)
}

/// What an import did.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Imported {
    rows: usize,
    /// Those that change what is said.
    changed: usize,
    /// Of all rows, those whose template has been seen here.
    seen: usize,
    is_dry_run: bool,
}

/// Reads a table of verdicts from a file.
pub fn import(args: &VerdictsImport, origin: &Origin, out: &mut Output) -> anyhow::Result<()> {
    let book = Book::read(origin)?;
    let (scope, actor) = (args.scope(), person::named(args.by.as_deref())?);
    let words = sheet::read(args, &actor, wall_clock())?;
    let changed: Vec<&(TemplateId, Verdict)> = words.iter().filter(|(id, word)| book.is_news(*id, scope, word)).collect();
    let imported = Imported {
        rows: words.len(),
        changed: changed.len(),
        seen: words.iter().filter(|(id, _)| book.is_seen(*id)).count(),
        is_dry_run: args.dry_run,
    };
    if !args.dry_run {
        let mut publication = Publication::to(topics::LOGS_VERDICTS);
        for (id, word) in changed {
            publication = publication.avro(&scope.key(*id), word)?;
        }
        publication.send(origin, "importing verdicts")?;
    }
    if out.is_json() {
        return Ok(out.document(&imported)?);
    }
    let Imported { rows, changed, seen, is_dry_run } = imported;
    let done = if is_dry_run { "would be imported" } else { "imported" };
    Ok(out.line(format!("{changed} of {rows} verdicts {done}, the others say what is said already; {seen} are of templates seen here"))?)
}

/// Writes everything that was given.
pub fn export(origin: &Origin, out: &mut Output) -> anyhow::Result<()> {
    let book = Book::read(origin)?;
    if out.is_json() {
        return Ok(out.document(&book.given().map(|(_, word)| word).collect::<Vec<_>>())?);
    }
    Ok(out.line(sheet::write(book.given())?.trim_end())?)
}
