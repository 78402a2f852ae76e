//! Parses server-sent events from bytes, as described in the WHATWG HTML standard ("Server-sent events", parsing an
//! event stream): `data:` lines are collected until an empty line. What the data means is not known here.

/// An event with more bytes is refused.
const EVENT_BYTES_MAX: usize = 16 << 20;

/// The error for an event larger than the limit.
#[derive(Debug, PartialEq, Eq)]
pub struct EventTooLong;

/// Splits a stream into events, whatever portions its bytes come in.
#[derive(Debug, Default)]
pub struct SseParser {
    /// Bytes from `at` on are not parsed yet.
    bytes: Vec<u8>,
    at: usize,
    /// Data lines of the current event.
    data: Option<String>,
}

impl SseParser {
    pub fn push(&mut self, bytes: &[u8]) {
        self.bytes.drain(..self.at);
        self.at = 0;
        self.bytes.extend_from_slice(bytes);
    }

    /// The data of the next complete event; events without data are skipped.
    ///
    /// # Errors
    /// `EventTooLong` if an event has too many bytes.
    pub fn next_data(&mut self) -> Result<Option<String>, EventTooLong> {
        while let Some(line) = self.line() {
            if line.is_empty() {
                if let Some(data) = self.data.take() {
                    return Ok(Some(data));
                }
                continue;
            }
            let Some(value) = line.strip_prefix("data:") else { continue };
            let value = value.strip_prefix(' ').unwrap_or(value);
            match &mut self.data {
                Some(data) => {
                    data.push('\n');
                    data.push_str(value);
                }
                None => self.data = Some(value.to_owned()),
            }
        }
        let waiting = self.bytes.len() - self.at + self.data.as_ref().map_or(0, String::len);
        if waiting > EVENT_BYTES_MAX { Err(EventTooLong) } else { Ok(None) }
    }

    /// The next line without its end (LF, CR LF or CR). A CR at the very end waits for the next byte.
    fn line(&mut self) -> Option<String> {
        let rest = &self.bytes[self.at..];
        let end = rest.iter().position(|&byte| byte == b'\n' || byte == b'\r')?;
        let width = match (rest[end], rest.get(end + 1)) {
            (b'\r', None) => return None,
            (b'\r', Some(b'\n')) => 2,
            _ => 1,
        };
        let line = String::from_utf8_lossy(&rest[..end]).into_owned();
        self.at += end + width;
        Some(line)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn data_of(stream: &[u8], portion: usize) -> Vec<String> {
        let mut parser = SseParser::default();
        let mut all = Vec::new();
        for bytes in stream.chunks(portion) {
            parser.push(bytes);
            while let Some(data) = parser.next_data().expect("short events") {
                all.push(data);
            }
        }
        all
    }

    #[test]
    fn events_are_the_same_in_whatever_portions_they_come() {
        let stream = ": hello\r\n\r\nevent: x\ndata: {\"a\":\"ü\"}\n\ndata:one\r\ndata: two\r\n\r\nid: 3\n\ndata: [DONE]\n\ndata: cut off";
        for portion in 1..stream.len() {
            let expected = ["{\"a\":\"ü\"}", "one\ntwo", "[DONE]"];
            assert_eq!(data_of(stream.as_bytes(), portion), expected, "portions of {portion}");
        }
    }

    #[test]
    fn an_event_without_end_is_an_error() {
        let mut parser = SseParser::default();
        for _ in 0..17 {
            parser.push(&vec![b'x'; 1 << 20]);
            if parser.next_data() == Err(EventTooLong) {
                return;
            }
        }
        panic!("17 MiB were taken as the beginning of a line");
    }
}
