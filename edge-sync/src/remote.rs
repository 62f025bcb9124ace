//! Creates and reads objects in the landing zone.

use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{CopyMode, CopyOptions, ObjectStore, ObjectStoreExt, PutMode, PutOptions};

use crate::error::{RemoteError, StartError, chain};
use crate::outbox::{Answer, Digest};
use crate::segment;

/// A landing zone as its writer sees it.
#[derive(Debug, Clone)]
pub(crate) struct Remote {
    store: Arc<dyn ObjectStore>,
    /// Set where the zone is a folder of this machine: an answer means nothing before a sync.
    folder: Option<PathBuf>,
}

impl Remote {
    /// A folder of this machine, created if it is not there.
    pub(crate) fn folder(path: PathBuf) -> Result<Remote, StartError> {
        let fail = |source| StartError::Folder { path: path.clone(), source };
        std::fs::create_dir_all(&path).map_err(fail)?;
        let folder = path.canonicalize().map_err(fail)?;
        let store = LocalFileSystem::new_with_prefix(&folder)
            .map_err(|error| fail(std::io::Error::other(error)))?;
        Ok(Remote { store: Arc::new(store), folder: Some(folder) })
    }

    /// Creates the object, unless one of this name is there.
    pub(crate) async fn create(&self, path: &str, bytes: Bytes) -> Result<Answer, RemoteError> {
        let object = Path::from(path);
        let created = match &self.folder {
            None => self.put(&object, bytes).await,
            Some(_) => self.put_synced(&object, bytes).await,
        };
        match created {
            Ok(()) => Ok(Answer::Created),
            Err(Refused::Exists) => match self.digest(path).await? {
                Some(digest) => Ok(Answer::Exists(digest)),
                None => Err(RemoteError {
                    object: path.to_owned(),
                    source: "it says that the object exists, and that it does not".into(),
                }),
            },
            Err(Refused::Failed(source)) => Err(RemoteError { object: path.to_owned(), source }),
        }
    }

    /// The digest of an object's content; `None` if there is no such object.
    pub(crate) async fn digest(&self, path: &str) -> Result<Option<Digest>, RemoteError> {
        let found = async { self.store.get(&Path::from(path)).await?.bytes().await };
        match found.await {
            Ok(bytes) => Ok(Some(segment::digest(&bytes))),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(RemoteError { object: path.to_owned(), source: error.into() }),
        }
    }

    /// Checks that a second object of one name is refused. Some stores ignore that condition,
    /// and would let a second writer through.
    pub(crate) async fn probe(&self, edge: &str) -> Result<(), StartError> {
        let path = format!("_probe/edge={edge}");
        let fail = |reason: String| StartError::Probe { reason };
        let mut answers = Vec::new();
        for _ in 0..2 {
            let answer = self.create(&path, Bytes::from_static(b"probe")).await;
            answers.push(answer.map_err(|error| fail(chain(&error)))?);
        }
        if matches!(answers[1], Answer::Exists(_)) {
            Ok(())
        } else {
            Err(fail("it lets a second writer replace an object".to_owned()))
        }
    }

    async fn put(&self, object: &Path, bytes: Bytes) -> Result<(), Refused> {
        let options = PutOptions::from(PutMode::Create);
        self.store.put_opts(object, bytes.into(), options).await?;
        Ok(())
    }

    /// A name that appears before its content is on disk would be an empty segment after a power
    /// cut, and look like another writer's. So: content, sync, name, sync.
    async fn put_synced(&self, object: &Path, bytes: Bytes) -> Result<(), Refused> {
        let staged = Path::from(format!("{object}.uploading"));
        self.store.put(&staged, bytes.into()).await?;
        self.sync(&staged).await?;
        let only_if_absent = CopyOptions::new().with_mode(CopyMode::Create);
        let named = self.store.copy_opts(&staged, object, only_if_absent).await;
        self.store.delete(&staged).await?;
        named?;
        self.sync(object).await
    }

    /// Syncs an object of a folder, and the folders above it up to the zone.
    async fn sync(&self, object: &Path) -> Result<(), Refused> {
        let Some(folder) = self.folder.clone() else { return Ok(()) };
        let file = folder.join(object.as_ref());
        let synced = tokio::task::spawn_blocking(move || {
            file.ancestors()
                .take_while(|path| path.starts_with(&folder))
                .try_for_each(|path| std::fs::File::open(path)?.sync_all())
        });
        let synced = synced.await.map_err(|error| Refused::Failed(error.into()))?;
        synced.map_err(|error| Refused::Failed(error.into()))
    }
}

enum Refused {
    Exists,
    Failed(Box<dyn std::error::Error + Send + Sync>),
}

impl From<object_store::Error> for Refused {
    fn from(error: object_store::Error) -> Refused {
        match error {
            object_store::Error::AlreadyExists { .. } => Refused::Exists,
            other => Refused::Failed(other.into()),
        }
    }
}
