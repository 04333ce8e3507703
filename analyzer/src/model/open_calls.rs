//! What observers of stacks keep of each open call, by numbers that are used again.

/// A table of open calls; number 0 is for calls that nobody asks for.
#[derive(Debug)]
pub struct OpenCalls<T> {
    calls: Vec<Option<T>>,
    free: Vec<u32>,
}

impl<T> Default for OpenCalls<T> {
    fn default() -> Self {
        OpenCalls { calls: vec![None], free: Vec::new() }
    }
}

impl<T> OpenCalls<T> {
    /// Keeps a call; answers its number.
    pub fn insert(&mut self, call: T) -> u32 {
        if let Some(number) = self.free.pop() {
            self.calls[number as usize] = Some(call);
            return number;
        }
        self.calls.push(Some(call));
        (self.calls.len() - 1) as u32
    }

    /// What is kept of a call.
    pub fn get(&self, number: u32) -> Option<&T> {
        self.calls.get(number as usize)?.as_ref()
    }

    /// The same, to be changed.
    pub fn get_mut(&mut self, number: u32) -> Option<&mut T> {
        self.calls.get_mut(number as usize)?.as_mut()
    }

    /// The call is over.
    pub fn remove(&mut self, number: u32) -> Option<T> {
        let call = self.calls.get_mut(number as usize)?.take()?;
        self.free.push(number);
        Some(call)
    }
}
