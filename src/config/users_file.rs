//! The file of users and tokens that `auth.file` names: who may push, scrape and administer, and
//! under which labels.

use std::path::{Path, PathBuf};

use super::table::{Table, texts};
use super::web_file::{FileErrors, folder, read};
use crate::auth::{Account, PasswordHash, Right, Rights, TokenHash};
use crate::model::{LabelScope, labels};

/// What the file says.
#[derive(Clone, Debug)]
pub struct UsersFile {
    pub accounts: Vec<Account>,
    /// What anybody may do without credentials.
    pub anonymous: Rights,
    /// The files that hold tokens.
    pub token_files: Vec<PathBuf>,
}

/// Shorter tokens could be guessed.
const TOKEN_BYTES_MIN: usize = 16;

impl UsersFile {
    /// Reads the file, and those with tokens that it names.
    ///
    /// # Errors
    /// With everything that is wrong.
    pub fn load(path: &Path) -> Result<UsersFile, FileErrors> {
        let errors = |problems| FileErrors { path: path.to_owned(), problems };
        let text = read(path).map_err(|reason| errors(vec![reason]))?;
        UsersFile::parse(&text, folder(path), &|path| read(path)).map_err(errors)
    }

    /// Relative names of files are relative to `folder`; `read_file` reads them.
    ///
    /// # Errors
    /// With everything that is wrong.
    pub fn parse(
        text: &str,
        folder: &Path,
        read_file: &dyn Fn(&Path) -> Result<String, String>,
    ) -> Result<UsersFile, Vec<String>> {
        let mut file = Table::of_text(text).map_err(|error| vec![error])?;
        let mut problems = Vec::new();
        let anonymous = rights(&mut file, "anonymous");
        let (mut accounts, mut token_files) = (Vec::new(), Vec::new());
        for (name, value) in file.free_table("users") {
            let mut user = file.of_value("users", &name, value);
            let files = user.texts("token_file").into_iter().map(|path| folder.join(path));
            let files: Vec<PathBuf> = files.collect();
            accounts.push(account(&mut user, name, &files, read_file));
            token_files.extend(files);
            user.finish(&mut problems);
        }
        file.finish(&mut problems);
        match problems.is_empty() {
            true => Ok(UsersFile { accounts, anonymous, token_files }),
            false => Err(problems),
        }
    }
}

fn account(
    from: &mut Table,
    name: String,
    token_files: &[PathBuf],
    read_file: &dyn Fn(&Path) -> Result<String, String>,
) -> Account {
    let mut password = None;
    if let Some(text) = from.text("password_bcrypt") {
        match PasswordHash::parse(&text) {
            Ok(_) if name.contains(':') => {
                from.wrong("password_bcrypt", "a user name with a password has no colon");
            }
            Ok(hash) => password = Some(hash),
            Err(error) => from.wrong("password_bcrypt", &error.to_string()),
        }
    }
    let mut tokens = Vec::new();
    for text in from.texts("token_sha256") {
        match TokenHash::from_hex(&text) {
            Ok(hash) => tokens.push(hash),
            Err(error) => from.wrong("token_sha256", &error.to_string()),
        }
    }
    for path in token_files {
        match read_file(path).and_then(|text| token(&text)) {
            Ok(hash) => tokens.push(hash),
            Err(reason) => from.wrong("token_file", &format!("{}: {reason}", path.display())),
        }
    }
    if password.is_none() && tokens.is_empty() {
        from.wrong(
            "password_bcrypt, token_sha256 or token_file",
            "one of them must be there, or nobody could be this user",
        );
    }
    let rights = rights(from, "rights");
    let scope = scope(from);
    if rights == Rights::default() {
        from.wrong("rights", "which? a list of push, scrape, admin and probe");
    }
    if scope.is_some() && rights.has(Right::Admin) {
        let reason = "who may remove everything (right admin) cannot be bound to labels";
        from.wrong("labels", reason);
    }
    if scope.is_some() && !rights.has(Right::Push) {
        from.wrong("labels", "they bind pushes, which this user has no right to");
    }
    Account { name, rights, scope, password, tokens }
}

fn rights(from: &mut Table, key: &'static str) -> Rights {
    let words = || Right::ALL.map(Right::word).to_vec();
    from.choices(key, Right::of_word, words).into_iter().collect()
}

fn scope(from: &mut Table) -> Option<LabelScope> {
    let mut bound = Vec::new();
    for (label, value) in from.free_table("labels") {
        let values = texts(&value).unwrap_or_default();
        if labels::check_name(&label).is_err() {
            from.wrong(&format!("labels.{label}"), "it cannot be the name of a label");
        } else if values.is_empty() || values.iter().any(String::is_empty) {
            let reason = "a value or a list of values is expected, none of them empty";
            from.wrong(&format!("labels.{label}"), reason);
        } else {
            bound.push((label, values));
        }
    }
    LabelScope::new(bound)
}

fn token(text: &str) -> Result<TokenHash, String> {
    let token = text.trim();
    if token.len() < TOKEN_BYTES_MIN {
        return Err(format!("a token has at least {TOKEN_BYTES_MIN} characters"));
    }
    if !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err("a token is one line of printable ASCII without blanks".to_owned());
    }
    Ok(TokenHash::of(token.as_bytes()))
}

#[cfg(test)]
mod tests;
