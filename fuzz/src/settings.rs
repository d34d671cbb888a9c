//! Cluster settings, and lengths of time.

use cairn_jobs::Setting;
use cairn_sql::ast::Wait;

/// Strategy: the bytes as text are a value of every setting, the name of one, and a length of time.
/// Invariants: no panic; a value that is taken is shown as text that is the same value, and is shown the same;
/// a value that is refused comes with a hint.
pub fn settings(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let _ = Setting::find(&text);
    for setting in Setting::all() {
        match setting.parse(&text) {
            Ok(value) => {
                let shown = value.to_string();
                let again = setting.parse(&shown);
                assert_eq!(again.as_ref(), Ok(&value), "{} = {text:?}: {shown}", setting.name);
                assert_eq!(again.map(|value| value.to_string()), Ok(shown));
            }
            Err(failure) => assert!(failure.hint.is_some(), "{failure:?}"),
        }
    }
    if let Some(limit) = Wait::limit(&text) {
        let seconds = format!("{}s", limit.as_secs());
        assert_eq!(Wait::limit(&seconds).map(|limit| limit.as_secs()), Some(limit.as_secs()));
    }
}
