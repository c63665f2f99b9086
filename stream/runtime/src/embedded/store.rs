//! The small transactional tables beside the log: the one module that knows which store holds them
//! (docs/decisions/embedded-store.md says why it is redb).

use std::{
    fs::{File, OpenOptions},
    ops::{Bound, ControlFlow},
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    sync::{PoisonError, RwLock},
};

use redb::{Builder, Database, ReadTransaction, ReadableDatabase, StorageBackend, TableDefinition, TableError};

use super::config::Durability;
use crate::bus::BusError;

/// Memory for pages; the tables are small, and redb's default of 1 GiB is not.
const CACHE_BYTES: usize = 16 << 20;

/// A table: byte strings in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Table {
    Meta,
    Topics,
    Ends,
    State,
    Cursors,
    Positions,
}

impl Table {
    pub(super) const ALL: [Self; 6] = [Self::Meta, Self::Topics, Self::Ends, Self::State, Self::Cursors, Self::Positions];

    const fn definition(self) -> TableDefinition<'static, &'static [u8], &'static [u8]> {
        TableDefinition::new(match self {
            Self::Meta => "meta",
            Self::Topics => "topics",
            Self::Ends => "ends",
            Self::State => "state",
            Self::Cursors => "cursors",
            Self::Positions => "positions",
        })
    }
}

/// One change; no value deletes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Write {
    pub(super) table: Table,
    pub(super) key: Vec<u8>,
    pub(super) value: Option<Vec<u8>>,
}

/// Key and value of a row.
pub(super) type Row = (Vec<u8>, Vec<u8>);

/// What went wrong in the store.
#[derive(Debug, thiserror::Error)]
#[error("store {path}: {source}")]
pub(super) struct StoreError {
    path: String,
    #[source]
    source: Box<redb::Error>,
}

impl From<StoreError> for BusError {
    fn from(error: StoreError) -> Self {
        Self::Lost(format!("{error}: {}", error.source))
    }
}

enum Handle {
    Writable(Database),
    ReadOnly(redb::ReadOnlyDatabase),
    Closed,
}

/// The store.
pub(super) struct Store {
    path: PathBuf,
    durability: Durability,
    handle: RwLock<Handle>,
}

impl Store {
    /// Opens the store for writing; one that does not exist is created, one that was not closed is repaired.
    pub(super) fn open(path: &Path, durability: Durability) -> Result<Self, StoreError> {
        let store = Self { path: path.to_path_buf(), durability, handle: RwLock::new(Handle::Closed) };
        store.reopen()?;
        Ok(store)
    }

    /// Opens the store for reading. One that was not closed cannot be: open it for writing first.
    pub(super) fn open_read_only(path: &Path) -> Result<Self, StoreError> {
        let opened = Builder::new().set_cache_size(CACHE_BYTES).open_read_only(path);
        let database = opened.map_err(|error| failed(path, error))?;
        Ok(Self { path: path.to_path_buf(), durability: Durability::Os, handle: RwLock::new(Handle::ReadOnly(database)) })
    }

    /// A store on another disk, which cannot be opened again: for tests of what a disk may do.
    #[cfg(test)]
    pub(super) fn on(backend: impl StorageBackend) -> Result<Self, StoreError> {
        let path = PathBuf::from("memory");
        let database = Builder::new().create_with_backend(backend).map_err(|error| failed(&path, error))?;
        create_tables(&database).map_err(|error| failed(&path, error))?;
        Ok(Self { path, durability: Durability::Fsync, handle: RwLock::new(Handle::Writable(database)) })
    }

    /// Opens it again: after an I/O error redb refuses everything until then.
    pub(super) fn reopen(&self) -> Result<(), StoreError> {
        let mut handle = self.handle.write().unwrap_or_else(PoisonError::into_inner);
        *handle = Handle::Closed;
        let error = |error: redb::Error| failed(&self.path, error);
        let opened = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&self.path);
        let backend = PlainFile { file: opened.map_err(|source| error(redb::Error::Io(source)))?, durability: self.durability };
        let database = Builder::new().set_cache_size(CACHE_BYTES).create_with_backend(backend).map_err(|source| error(source.into()))?;
        let created = create_tables(&database);
        *handle = Handle::Writable(database);
        created.map_err(error)
    }

    /// Applies all changes, or none; durable when it returns. After an error it is unknown which, until [`Store::reopen`].
    pub(super) fn write<'a>(&self, writes: impl IntoIterator<Item = &'a Write>) -> Result<(), StoreError> {
        let handle = self.handle.read().unwrap_or_else(PoisonError::into_inner);
        let Handle::Writable(database) = &*handle else {
            return Err(failed(&self.path, redb::StorageError::DatabaseClosed));
        };
        apply(database, writes).map_err(|error| failed(&self.path, error))
    }

    /// The value of a key.
    pub(super) fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        let read =
            || Ok::<_, redb::Error>(self.begin_read()?.open_table(table.definition())?.get(key)?.map(|value| value.value().to_vec()));
        read().map_err(|error| failed(&self.path, error))
    }

    /// Visits keys that begin with `prefix`, in order, from the first after `after` on, until told to stop.
    pub(super) fn scan(
        &self,
        table: Table,
        prefix: &[u8],
        after: Option<&[u8]>,
        mut visit: impl FnMut(&[u8], &[u8]) -> ControlFlow<()>,
    ) -> Result<(), StoreError> {
        let start = after.map_or(Bound::Included(prefix), Bound::Excluded);
        let mut read = || {
            let table = self.begin_read()?.open_table(table.definition())?;
            for entry in table.range::<&[u8]>((start, Bound::Unbounded))? {
                let (key, value) = entry?;
                if !key.value().starts_with(prefix) || visit(key.value(), value.value()).is_break() {
                    break;
                }
            }
            Ok::<_, redb::Error>(())
        };
        read().map_err(|error| failed(&self.path, error))
    }

    /// Reads every page against its checksum; false if something had to be mended.
    pub(super) fn is_sound(&self) -> Result<bool, StoreError> {
        let mut handle = self.handle.write().unwrap_or_else(PoisonError::into_inner);
        match &mut *handle {
            Handle::Writable(database) => database.check_integrity().map_err(|error| failed(&self.path, error)),
            Handle::ReadOnly(_) | Handle::Closed => Err(failed(&self.path, redb::StorageError::DatabaseClosed)),
        }
    }

    fn begin_read(&self) -> Result<ReadTransaction, redb::Error> {
        match &*self.handle.read().unwrap_or_else(PoisonError::into_inner) {
            Handle::Writable(database) => Ok(database.begin_read()?),
            Handle::ReadOnly(database) => Ok(database.begin_read()?),
            Handle::Closed => Err(redb::StorageError::DatabaseClosed.into()),
        }
    }
}

fn failed(path: &Path, error: impl Into<redb::Error>) -> StoreError {
    StoreError { path: path.display().to_string(), source: Box::new(error.into()) }
}

fn create_tables(database: &Database) -> Result<(), redb::Error> {
    let missing = match database.begin_read()?.open_table(Table::ALL[Table::ALL.len() - 1].definition()) {
        Ok(_) => false,
        Err(TableError::TableDoesNotExist(_)) => true,
        Err(error) => return Err(error.into()),
    };
    if missing {
        let transaction = database.begin_write()?;
        for table in Table::ALL {
            transaction.open_table(table.definition())?;
        }
        transaction.commit()?;
    }
    Ok(())
}

fn apply<'a>(database: &Database, writes: impl IntoIterator<Item = &'a Write>) -> Result<(), redb::Error> {
    let transaction = database.begin_write()?;
    let mut writes = writes.into_iter().peekable();
    while let Some(table) = writes.peek().map(|write| write.table) {
        let mut open = transaction.open_table(table.definition())?;
        while let Some(write) = writes.next_if(|write| write.table == table) {
            match &write.value {
                Some(value) => open.insert(write.key.as_slice(), value.as_slice())?,
                None => open.remove(write.key.as_slice())?,
            };
        }
    }
    transaction.commit()?;
    Ok(())
}

/// The file below redb, without a lock (the directory has one) and, if so configured, without waiting for the disk: then
/// the page cache keeps what the process wrote if only the process dies.
#[derive(Debug)]
struct PlainFile {
    file: File,
    durability: Durability,
}

impl StorageBackend for PlainFile {
    fn len(&self) -> Result<u64, std::io::Error> {
        Ok(self.file.metadata()?.len())
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> Result<(), std::io::Error> {
        self.file.read_exact_at(out, offset)
    }

    fn set_len(&self, len: u64) -> Result<(), std::io::Error> {
        self.file.set_len(len)
    }

    fn sync_data(&self) -> Result<(), std::io::Error> {
        match self.durability {
            Durability::Fsync => self.file.sync_data(),
            Durability::Os => Ok(()),
        }
    }

    fn write(&self, offset: u64, data: &[u8]) -> Result<(), std::io::Error> {
        self.file.write_all_at(data, offset)
    }
}
