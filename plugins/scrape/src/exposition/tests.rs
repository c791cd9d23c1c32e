//! What is read of whole bodies.

use super::{Entry, Format, Parser};

fn read(body: &[u8], format: Format) -> String {
    let mut parser = Parser::new(body, format);
    let mut lines = String::new();
    loop {
        match parser.next() {
            Ok(None) => return lines,
            Ok(Some(Entry::Sample(sample))) => {
                let labels: Vec<_> = sample.labels.iter().map(|(name, value)| format!("{name}={value}")).collect();
                lines += &format!(
                    "{}[{}] {} {:?} {:?} {:?}\n",
                    sample.name,
                    labels.join(","),
                    sample.value,
                    sample.timestamp_ms,
                    sample.part(),
                    sample.created_ms()
                );
            }
            Ok(Some(entry)) => lines += &format!("{entry:?}\n"),
            Err(error) => return lines + &error.to_string(),
        }
    }
}

#[test]
fn shown() {
    let text = "# HELP a_total b\\nc \n# TYPE a_total counter\na_total{x=\"1\",} 5\n a_total 5 123\n#c\n\n# TYPE h histogram\nh_bucket{le=\"1\"} 3\nh{a=\"1\" b=\"2\"}\t4\n{\"a.b\", c=\"d\"} NaN\nx 1\r\n";
    println!("{}", read(text.as_bytes(), Format::Text));
    let text = "# HELP a b\\nc \n# TYPE a counter\na_total{x=\"1\",} 5 1.5 # {t=\"a\"} 3 4\na_created{x=\"1\"} 123\n# UNIT a_s s\n{\"a\",b=\"c\"} 4\n# EOF";
    println!("{}", read(text.as_bytes(), Format::OpenMetrics));
}
