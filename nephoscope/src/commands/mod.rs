//! The commands, one file per noun.

pub mod alerts;
pub mod dlq;
pub mod doctor;
pub mod feedback;
pub mod health;
pub mod incidents;
pub mod notify;
pub mod silence;
pub mod state;
pub mod status;
pub mod store;
pub mod tail;
pub mod templates;
pub mod topics;
pub mod verdicts;

use std::process::ExitCode;

use stream_runtime::config::ConfigFile;

use crate::{
    cli::{Alerts, Cli, Command, Dlq, Feedback, Incidents, Notify, Silence, State, Store, Templates, Topics, TopicsCommand, Verdicts},
    origin::Origin,
    output::{Form, Output},
    redact::Redactor,
};

/// Runs a command.
///
/// # Errors
/// What went wrong, with all its causes.
pub fn run(cli: Cli) -> anyhow::Result<ExitCode> {
    let global = &cli.global;
    let mut out = Output::new(if global.json { Form::Json } else { Form::Text });
    let origin = || Origin::open(global);
    let redactor = || Redactor::read(&mut ConfigFile::load(global.config.as_deref())?);
    match &cli.command {
        Command::Up(args) => return crate::up::run(args, global, &mut out),
        Command::Demo(args) => return crate::demo::run(args, &mut out),
        Command::Status(args) => return status::run(args, global, &mut out),
        Command::Doctor(args) => return doctor::run(args.subject, global, &mut out),
        Command::Health(args) => return health::run(args, global, &mut out),
        Command::Store(Store::Check) => return store::check(global, &mut out),
        Command::Store(Store::Repair(args)) => return store::repair(args, global, &mut out),
        Command::State(State::Reset(args)) => return state::reset(args, global, &mut out),
        Command::State(State::Skip(args)) => return state::skip(args, global, &mut out),
        Command::Tail(args) => tail::run(args, &origin()?, &redactor()?, &mut out),
        Command::Topics(Topics { command: Some(TopicsCommand::Create) }) => topics::create(global, &mut out),
        Command::Topics(Topics { command: None }) => topics::run(&origin()?, &mut out),
        Command::Templates(Templates::List(args)) => templates::list(args, &origin()?, &redactor()?, &mut out),
        Command::Alerts(Alerts::List(args)) => alerts::list(args, &origin()?, &redactor()?, &mut out),
        Command::Alerts(Alerts::Show(args)) => alerts::show(args, &origin()?, &redactor()?, &mut out),
        Command::Incidents(Incidents::List(args)) => incidents::list(args, &origin()?, &redactor()?, &mut out),
        Command::Incidents(Incidents::Show(args)) => incidents::show(args, &origin()?, &redactor()?, &mut out),
        Command::Dlq(Dlq::List(args)) => dlq::list(args, &origin()?, &redactor()?, &mut out),
        Command::Dlq(Dlq::Show(args)) => dlq::show(args, &origin()?, &redactor()?, &mut out),
        Command::Dlq(Dlq::Replay(args)) => dlq::replay(args, &origin()?, &mut out),
        Command::Notify(Notify::List) => notify::list(&origin()?, &mut out),
        Command::Notify(Notify::Test(args)) => return notify::test(args, global, &mut out),
        Command::Notify(Notify::Explain(args)) => notify::explain(args, global, &origin()?, &redactor()?, &mut out),
        Command::Silence(Silence::Add(args)) => silence::add(args, &origin()?, &mut out),
        Command::Silence(Silence::List(args)) => silence::list(args, &origin()?, &mut out),
        Command::Silence(Silence::Expire(args)) => silence::expire(args, &origin()?, &mut out),
        Command::Verdicts(Verdicts::List(args)) => verdicts::list(args, &origin()?, &redactor()?, &mut out),
        Command::Verdicts(Verdicts::Set(args)) => verdicts::set(args, &origin()?, &mut out),
        Command::Verdicts(Verdicts::Undo(args)) => verdicts::undo(args, &origin()?, &mut out),
        Command::Verdicts(Verdicts::Import(args)) => verdicts::import(args, &origin()?, &mut out),
        Command::Verdicts(Verdicts::Export) => verdicts::export(&origin()?, &mut out),
        Command::Feedback(Feedback::FalseAlarm(args)) => feedback::false_alarm(args, &origin()?, &redactor()?, &mut out),
        Command::Feedback(Feedback::Missed(args)) => feedback::missed(args, &origin()?, &mut out),
        Command::Feedback(Feedback::Undo(args)) => feedback::undo(args, &origin()?, &mut out),
        Command::Feedback(Feedback::List) => feedback::list(&origin()?, &mut out),
        Command::State(State::Show(args)) => state::show(args, &origin()?, &mut out),
    }?;
    Ok(ExitCode::SUCCESS)
}
