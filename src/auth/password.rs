//! Compares passwords with their bcrypt hashes, and remembers the outcomes.
//!
//! A run of bcrypt takes about a tenth of a second, and a client sends its password with every push. So
//! outcomes are remembered, under a keyed hash that reveals nothing without its key, which is generated
//! at the start and never leaves the process.

use std::collections::{BTreeMap, HashSet};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use parking_lot::Mutex;
use ring::hmac;

use super::{Caller, Hidden, Policy, Refusal, Right};
use crate::random;

/// A hash made by bcrypt: `$2a$`, `$2b$` or `$2y$`.
#[derive(Clone, PartialEq, Eq)]
pub struct PasswordHash {
    text: String,
    /// A comparison takes 2^`cost` units of work.
    cost: u32,
}

/// Why a text is not a password hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PasswordHashError {
    #[error("a bcrypt hash is expected, such as htpasswd -nBC 10 NAME prints")]
    NotBcrypt,
    #[error("the cost {0} takes too long: accepted are hashes with a cost of up to {COST_MAX}")]
    Cost(u32),
}

/// The minimum of bcrypt.
const COST_MIN: u32 = 4;
/// A few seconds on a slow core.
const COST_MAX: u32 = 16;

/// How many outcomes are remembered. Anybody can add wrong ones; there are about as many right ones as
/// users.
const WRONG_MAX: usize = 1000;
const RIGHT_MAX: usize = 10_000;

impl PasswordHash {
    /// # Errors
    /// If it is not such a hash, or would take minutes to compare.
    pub fn parse(text: &str) -> Result<PasswordHash, PasswordHashError> {
        let parts: bcrypt::HashParts = text.parse().map_err(|_| PasswordHashError::NotBcrypt)?;
        if !["$2a$", "$2b$", "$2y$"].iter().any(|prefix| text.starts_with(prefix)) {
            return Err(PasswordHashError::NotBcrypt);
        }
        match parts.get_cost() {
            cost @ COST_MIN..=COST_MAX => Ok(PasswordHash { text: text.to_owned(), cost }),
            cost if cost > COST_MAX => Err(PasswordHashError::Cost(cost)),
            _ => Err(PasswordHashError::NotBcrypt),
        }
    }

    /// A well-formed hash that no known password has.
    fn nobody(cost: u32) -> PasswordHash {
        const DIGITS: &str = "NobodyHasThisPassword.8RHJ7/mkH/khEtRXFtEnf3L5NEfnedq";
        PasswordHash { text: format!("$2b${cost:02}${DIGITS}"), cost }
    }
}

impl fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("<hidden>")
    }
}

/// Outcomes of comparisons. It outlives the policies that use it, so that a reload does not make
/// anybody wait for bcrypt again. An outcome is for one user, one hash and one password.
#[derive(Clone)]
pub struct PasswordMemory(Arc<Memory>);

struct Memory {
    key: hmac::Key,
    outcomes: Mutex<Outcomes>,
    runs: AtomicU64,
}

#[derive(Default)]
struct Outcomes {
    right: HashSet<Mark>,
    wrong: HashSet<Mark>,
}

/// Stands for a user, a hash and a password, without revealing them.
pub type Mark = [u8; 32];

impl Default for PasswordMemory {
    fn default() -> PasswordMemory {
        let key = hmac::Key::new(hmac::HMAC_SHA256, &random::bytes::<32>());
        let (outcomes, runs) = (Mutex::default(), AtomicU64::new(0));
        PasswordMemory(Arc::new(Memory { key, outcomes, runs }))
    }
}

impl fmt::Debug for PasswordMemory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PasswordMemory").finish_non_exhaustive()
    }
}

impl PasswordMemory {
    /// How many times bcrypt has run.
    pub fn runs(&self) -> u64 {
        self.0.runs.load(Relaxed)
    }

    fn mark(&self, user: &str, hash: &PasswordHash, password: &[u8]) -> Mark {
        let mut context = hmac::Context::with_key(&self.0.key);
        // Unambiguous, since all hashes have the same length and the user comes after its length.
        context.update(&(user.len() as u64).to_le_bytes());
        context.update(user.as_bytes());
        context.update(hash.text.as_bytes());
        context.update(password);
        let mut mark = Mark::default();
        mark.copy_from_slice(context.sign().as_ref());
        mark
    }

    fn recall(&self, mark: &Mark) -> Option<bool> {
        let outcomes = self.0.outcomes.lock();
        match (outcomes.right.contains(mark), outcomes.wrong.contains(mark)) {
            (true, _) => Some(true),
            (_, true) => Some(false),
            _ => None,
        }
    }

    fn remember(&self, mark: Mark, right: bool) {
        let mut outcomes = self.0.outcomes.lock();
        let (marks, max) = match right {
            true => (&mut outcomes.right, RIGHT_MAX),
            false => (&mut outcomes.wrong, WRONG_MAX),
        };
        if marks.len() >= max {
            marks.clear();
        }
        marks.insert(mark);
    }
}

/// The password hashes of all users that have one.
#[derive(Debug)]
pub(super) struct Passwords {
    /// By user name; with the index of the user.
    hashes: BTreeMap<String, (PasswordHash, usize)>,
    /// For unknown users. It costs as much as the most expensive of the others.
    nobody: PasswordHash,
    memory: PasswordMemory,
}

impl Passwords {
    pub(super) fn new(
        hashes: BTreeMap<String, (PasswordHash, usize)>,
        memory: PasswordMemory,
    ) -> Passwords {
        let dearest = hashes.values().map(|(hash, _)| hash.cost).max();
        Passwords { hashes, nobody: PasswordHash::nobody(dearest.unwrap_or(10)), memory }
    }

    #[cfg(test)]
    pub(super) fn memory(&self) -> &PasswordMemory {
        &self.memory
    }

    fn hash(&self, user: &str) -> &PasswordHash {
        self.hashes.get(user).map_or(&self.nobody, |(hash, _)| hash)
    }
}

/// A password to be compared with the hash of its user.
#[derive(Clone, Debug)]
pub struct PasswordCheck {
    policy: Arc<Policy>,
    user: String,
    password: Hidden,
    mark: Mark,
    right: Right,
}

impl PasswordCheck {
    pub(super) fn new(
        policy: Arc<Policy>,
        user: String,
        password: Hidden,
        right: Right,
    ) -> PasswordCheck {
        let passwords = &policy.passwords;
        let mark = passwords.memory.mark(&user, passwords.hash(&user), &password.0);
        PasswordCheck { policy, user, password, mark, right }
    }

    /// The same for all requests with the same user and password.
    pub fn mark(&self) -> Mark {
        self.mark
    }

    /// The outcome of an earlier comparison, if there was one.
    pub fn recall(&self) -> Option<bool> {
        self.policy.passwords.memory.recall(&self.mark)
    }

    /// Whether the password is right. Slow on purpose.
    pub fn run(&self) -> bool {
        let passwords = &self.policy.passwords;
        passwords.memory.0.runs.fetch_add(1, Relaxed);
        let same = bcrypt::verify(&self.password.0, &passwords.hash(&self.user).text);
        let right = same.unwrap_or(false) && passwords.hashes.contains_key(&self.user);
        passwords.memory.remember(self.mark, right);
        right
    }

    /// What to do with the request, once it is known whether the password is right.
    ///
    /// # Errors
    /// If it is wrong, or the user lacks the right.
    pub fn outcome(&self, right: bool) -> Result<Caller, Refusal> {
        match self.policy.passwords.hashes.get(&self.user) {
            Some((_, user)) if right => self.policy.allow(*user, self.right),
            _ => Err(Refusal::Wrong),
        }
    }
}
