//! What this user may do with topics and consumer groups, as the brokers tell whoever asks about himself (KIP-430).
//!
//! It is the one way without a trace: trying to write would leave records in other people's topics, and reading the ACLs
//! themselves is an administrator's right. librdkafka can ask, and crate rdkafka does not pass it on.
#![allow(unsafe_code, reason = "calls of librdkafka that crate rdkafka does not wrap; each is a question with one answer")]

use std::{
    collections::BTreeMap,
    ffi::{CStr, CString, c_char},
    time::Duration,
};

use rdkafka::{
    bindings::*,
    consumer::{BaseConsumer, Consumer},
    error::RDKafkaErrorCode,
    types::RDKafkaRespErr,
};

use super::super::client::Asking;

/// What can be allowed, as far as our binaries need it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Operation {
    /// Reading records, or being a member of a group.
    Read,
    /// Writing records.
    Write,
    /// Seeing that it is there.
    Describe,
}

/// What is allowed on one resource, or why that is not told.
pub(super) type Allowed = Result<Vec<Operation>, RDKafkaErrorCode>;

/// What is allowed on each topic.
pub(super) fn on_topics(
    client: &BaseConsumer<Asking>,
    names: &[&str],
    wait: Duration,
) -> Result<BTreeMap<String, Allowed>, RDKafkaErrorCode> {
    let (texts, mut pointers) = texts(names);
    let question = Question::new(client, rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_DESCRIBETOPICS, wait)?;
    // SAFETY: `texts` outlives the call, which copies the names; the collection is freed once. The client lives as long as
    // its borrow, and the results as long as the event that holds them.
    unsafe {
        let topics = Freed(rd_kafka_TopicCollection_of_topic_names(pointers.as_mut_ptr(), texts.len()), rd_kafka_TopicCollection_destroy);
        rd_kafka_DescribeTopics(client.client().native_ptr(), topics.0, question.options.0, question.queue.0);
        let event = question.answer(wait)?;
        let mut count = 0;
        let result = rd_kafka_event_DescribeTopics_result(event.0);
        let topics = if result.is_null() { std::ptr::null_mut() } else { rd_kafka_DescribeTopics_result_topics(result, &raw mut count) };
        Ok(collect(topics, count, |topic| {
            let mut allowed = 0;
            let operations = rd_kafka_TopicDescription_authorized_operations(topic, &raw mut allowed);
            (rd_kafka_TopicDescription_name(topic), rd_kafka_TopicDescription_error(topic), operations, allowed)
        }))
    }
}

/// What is allowed on each consumer group.
pub(super) fn on_groups(
    client: &BaseConsumer<Asking>,
    names: &[&str],
    wait: Duration,
) -> Result<BTreeMap<String, Allowed>, RDKafkaErrorCode> {
    let (texts, mut pointers) = texts(names);
    let question = Question::new(client, rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_DESCRIBECONSUMERGROUPS, wait)?;
    // SAFETY: as above; the names are copied by the call.
    unsafe {
        let native = client.client().native_ptr();
        rd_kafka_DescribeConsumerGroups(native, pointers.as_mut_ptr(), texts.len(), question.options.0, question.queue.0);
        let event = question.answer(wait)?;
        let mut count = 0;
        let result = rd_kafka_event_DescribeConsumerGroups_result(event.0);
        let groups =
            if result.is_null() { std::ptr::null_mut() } else { rd_kafka_DescribeConsumerGroups_result_groups(result, &raw mut count) };
        Ok(collect(groups, count, |group| {
            let mut allowed = 0;
            let operations = rd_kafka_ConsumerGroupDescription_authorized_operations(group, &raw mut allowed);
            (rd_kafka_ConsumerGroupDescription_group_id(group), rd_kafka_ConsumerGroupDescription_error(group), operations, allowed)
        }))
    }
}

/// Names as C wants them; those that cannot be one are left out.
fn texts(names: &[&str]) -> (Vec<CString>, Vec<*const c_char>) {
    let texts: Vec<_> = names.iter().filter_map(|name| CString::new(*name).ok()).collect();
    let pointers = texts.iter().map(|text| text.as_ptr()).collect();
    (texts, pointers)
}

/// Something of librdkafka's that is freed by a function of its own.
struct Freed<T>(*mut T, unsafe extern "C" fn(*mut T));

impl<T> Drop for Freed<T> {
    fn drop(&mut self) {
        if !self.0.is_null() {
            // SAFETY: it came from the constructor that belongs to this function, and nobody else frees it.
            unsafe { (self.1)(self.0) }
        }
    }
}

/// The options of a question and the queue for its answer.
struct Question {
    options: Freed<rd_kafka_AdminOptions_t>,
    queue: Freed<rd_kafka_queue_t>,
}

impl Question {
    fn new(client: &BaseConsumer<Asking>, kind: rd_kafka_admin_op_t, wait: Duration) -> Result<Self, RDKafkaErrorCode> {
        let native = client.client().native_ptr();
        // SAFETY: the client outlives both, since the question does not outlive the borrow in its two callers; an error is
        // freed by whoever got it. No buffer for a text of the error is given.
        unsafe {
            let this = Self {
                options: Freed(rd_kafka_AdminOptions_new(native, kind), rd_kafka_AdminOptions_destroy),
                queue: Freed(rd_kafka_queue_new(native), rd_kafka_queue_destroy),
            };
            rd_kafka_AdminOptions_set_request_timeout(this.options.0, millis(wait), std::ptr::null_mut(), 0);
            let refused = Freed(rd_kafka_AdminOptions_set_include_authorized_operations(this.options.0, 1), rd_kafka_error_destroy);
            if refused.0.is_null() { Ok(this) } else { Err(rd_kafka_error_code(refused.0).into()) }
        }
    }

    fn answer(&self, wait: Duration) -> Result<Freed<rd_kafka_event_t>, RDKafkaErrorCode> {
        // SAFETY: the queue is ours; the event is freed once, by who holds it.
        unsafe {
            let event = Freed(rd_kafka_queue_poll(self.queue.0, millis(wait)), rd_kafka_event_destroy);
            if event.0.is_null() {
                return Err(RDKafkaErrorCode::OperationTimedOut);
            }
            match rd_kafka_event_error(event.0) {
                RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR => Ok(event),
                code => Err(code.into()),
            }
        }
    }
}

fn millis(wait: Duration) -> i32 {
    i32::try_from(wait.as_millis()).unwrap_or(i32::MAX).max(1)
}

/// Name, error, operations and their number, of a description.
type Parts = (*const c_char, *const rd_kafka_error_t, *const rd_kafka_AclOperation_t, usize);

/// # Safety
/// `descriptions` points to `count` of them, or is null; what `parts` returns points into one of them.
unsafe fn collect<T>(descriptions: *mut *const T, count: usize, parts: impl Fn(*const T) -> Parts) -> BTreeMap<String, Allowed> {
    let mut all = BTreeMap::new();
    for index in 0..if descriptions.is_null() { 0 } else { count } {
        // SAFETY: the caller's word. Operations are read as numbers, since a later librdkafka may know more of them.
        unsafe {
            let (name, error, operations, allowed) = parts(*descriptions.add(index));
            let code = if error.is_null() { RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR } else { rd_kafka_error_code(error) };
            let allowed = match code {
                RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR if operations.is_null() => Err(RDKafkaErrorCode::UnsupportedFeature),
                RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR => {
                    Ok((0..allowed).filter_map(|index| operation(operations.cast::<u32>().add(index).read())).collect())
                }
                code => Err(code.into()),
            };
            if !name.is_null() {
                all.insert(CStr::from_ptr(name).to_string_lossy().into_owned(), allowed);
            }
        }
    }
    all
}

fn operation(number: u32) -> Option<Operation> {
    use rd_kafka_AclOperation_t as A;
    const READ: u32 = A::RD_KAFKA_ACL_OPERATION_READ as u32;
    const WRITE: u32 = A::RD_KAFKA_ACL_OPERATION_WRITE as u32;
    const DESCRIBE: u32 = A::RD_KAFKA_ACL_OPERATION_DESCRIBE as u32;
    match number {
        READ => Some(Operation::Read),
        WRITE => Some(Operation::Write),
        DESCRIBE => Some(Operation::Describe),
        _ => None,
    }
}
