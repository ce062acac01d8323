use super::{Api, JobRecord, PAGE};
use crate::error::Result;
use crate::store::Store;

/// The jobs of a list that is no queue, newest first, page by page: one in which a fetcher keeps running jobs. Such a list shrinks while it
/// is read, so a page may pass over jobs.
#[derive(Clone, Debug)]
pub struct ListPages {
    store: Store,
    key: String,
    read: usize,
    is_over: bool,
}

impl ListPages {
    /// Returns the next page, about 1 MB at most; `None` at the end.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Redis`](crate::ErrorKind::Redis), also if the key holds no list.
    pub async fn next(&mut self) -> Result<Option<Vec<JobRecord>>> {
        if self.is_over {
            return Ok(None);
        }
        let page = self.store.list_page(&self.key, self.read, PAGE).await?;
        self.read += page.len();
        self.is_over = page.is_empty();
        Ok((!self.is_over).then(|| page.into_iter().map(JobRecord::new).collect()))
    }
}

impl Api {
    /// Returns the jobs of a list by its key: a private list of a worker, or a list of running jobs of another fetcher.
    pub fn list(&self, key: &str) -> ListPages {
        ListPages { store: self.store.clone(), key: key.to_owned(), read: 0, is_over: false }
    }

    /// Returns the keys of the private lists of ferrokiq's workers, dead ones of the last day included.
    ///
    /// # Errors
    ///
    /// As [`stats`](Self::stats).
    pub async fn private_lists(&self) -> Result<Vec<String>> {
        let (registered, fenced) = self.store.registered_and_fenced().await?;
        let mut lists = Vec::new();
        for identity in registered.union(&fenced) {
            lists.extend(self.store.private_lists(identity).await?.into_iter().map(|(list, _queue)| list));
        }
        lists.sort_unstable();
        Ok(lists)
    }
}
