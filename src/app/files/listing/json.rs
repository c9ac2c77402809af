//! A listing as JSON (RFC 8259): an array of objects in the shape that Caddy gave to file listings.

use super::{Entries, Write};
use crate::web::json_string;

/// `[{"name":"a b","size":1,"url":"./a%20b","mod_time":"1994-11-06T08:49:37Z","is_dir":false}]`, with null where the time is not known.
///
/// A name that is no text has U+FFFD in it; its `url` is exact.
pub(super) fn write(entries: &Entries) -> String {
    let mut json = String::from("[");
    for (index, entry) in entries.all.iter().enumerate() {
        json.push_str(if index == 0 { "{\"name\":" } else { ",\n{\"name\":" });
        json.push_str(&json_string(&String::from_utf8_lossy(&entry.name)));
        // Writing to a String cannot fail.
        let _ = write!(json, ",\"size\":{},\"url\":", entry.size);
        json.push_str(&json_string(&entry.href()));
        let _ = match entry.date_and_time() {
            Some((date, time)) => write!(json, ",\"mod_time\":\"{date}T{time}Z\""),
            None => write!(json, ",\"mod_time\":null"),
        };
        let _ = write!(json, ",\"is_dir\":{}}}", entry.is_directory);
    }
    json.push_str("]\n");
    json
}

#[cfg(test)]
mod tests {
    use super::super::Entry;
    use super::*;

    #[test]
    fn rfc8259_7_every_name_is_a_string() {
        let entry = |name: &[u8], modified| Entry { name: name.to_vec(), is_directory: false, size: 7, modified };
        let entries = Entries {
            all: vec![entry(b"a\"\\<\x01\xff", Some(784_111_777)), entry("\u{1F980}".as_bytes(), None)],
            is_cut: false,
        };
        let expected = "[{\"name\":\"a\\\"\\\\\\u003c\\u0001\u{fffd}\",\"size\":7,\"url\":\"./a%22%5C%3C%01%FF\",\
            \"mod_time\":\"1994-11-06T08:49:37Z\",\"is_dir\":false},\n\
            {\"name\":\"\u{1F980}\",\"size\":7,\"url\":\"./%F0%9F%A6%80\",\"mod_time\":null,\"is_dir\":false}]\n";
        assert_eq!(write(&entries), expected);
        assert_eq!(write(&Entries { all: vec![], is_cut: false }), "[]\n");
    }
}
