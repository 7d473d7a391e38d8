use tokio::task::{AbortHandle, JoinHandle};

use crate::outbox::error::OutboxError;

/// A task that ends with whoever started it.
pub(crate) struct Task {
    handle: JoinHandle<Result<(), OutboxError>>,
    abort: AbortHandle,
}

impl Task {
    pub(crate) fn spawn(work: impl Future<Output = Result<(), OutboxError>> + Send + 'static) -> Self {
        let handle = tokio::spawn(work);
        Self {
            abort: handle.abort_handle(),
            handle,
        }
    }

    pub(crate) async fn joined(&mut self) -> Result<(), OutboxError> {
        match (&mut self.handle).await {
            Ok(ended) => ended,
            Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
            // Only its owner aborts it, and the owner is here.
            Err(_) => Ok(()),
        }
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        self.abort.abort();
    }
}
