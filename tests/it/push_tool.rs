//! `tallygate push` and `tallygate check`, which cron jobs, CI and the test of the chart use.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

use crate::harness::{Gateway, binary, config, file, flag, start};

/// Runs the tool with this input. Returns exit code, standard output and standard error.
fn tool(args: &[&str], environment: &[(&str, &str)], input: &str) -> (i32, String, String) {
    let mut command = binary();
    command.args(args).envs(environment.iter().copied());
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("the binary starts");
    // It may end without reading its input.
    let _ = child.stdin.take().expect("piped").write_all(input.as_bytes());
    let Output { status, stdout, stderr } = child.wait_with_output().expect("it ends");
    let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
    (status.code().expect("an exit code"), text(stdout), text(stderr))
}

fn push(args: &[&str], input: &str) -> (i32, String, String) {
    tool(&[&["push"], args].concat(), &[], input)
}

/// Asserts that the push succeeds without any output.
#[track_caller]
fn pushes(args: &[&str], input: &str) {
    assert_eq!(push(args, input), (0, String::new(), String::new()), "{args:?}");
}

#[track_caller]
fn fails(args: &[&str], input: &str, code: i32, message: &str) {
    let (found, out, err) = push(args, input);
    assert_eq!((found, &*out), (code, ""), "{args:?}: {err}");
    assert!(err.contains(message), "{args:?}: no {message:?} in {err}");
}

#[test]
fn standard_input_and_files_are_pushed() {
    let gateway = start();
    let url = gateway.url("");
    pushes(&[&url], "a_total 1\n");
    pushes(&["--job=j", "--label", "x=1", &url], "a_total 2");
    let (one, two) = (file("one.prom", "b_total 1"), file("two.prom", "c_total{x=\"y\"} 1\n"));
    let (one, two) = (one.to_str().unwrap(), two.to_str().unwrap());
    pushes(&["--job=j", &url, one, two, "-"], "d_total 1\n");
    pushes(&["--method=PUT", &gateway.url("/metrics/job/k/")], "a_total 4\n");
    for (sample, value) in [
        ("a_total", 1.0),
        ("a_total{job=\"j\",x=\"1\"}", 2.0),
        ("a_total{job=\"k\"}", 4.0),
        ("b_total{job=\"j\"}", 1.0),
        ("c_total{job=\"j\",x=\"y\"}", 1.0),
        ("d_total{job=\"j\"}", 1.0),
    ] {
        assert_eq!(gateway.sample(sample), value, "{sample}");
    }
    assert_eq!(gateway.sample("tallygate_dedupe_keys"), 4.0);
}

#[test]
fn values_of_labels_arrive_as_they_are() {
    let gateway = start();
    let url = gateway.url("");
    for value in ["a/b", "/", ".", "..", "ä ö+%", "a=b", "\"\\", "?#&", "x@base64"] {
        pushes(&["--job=j", &format!("--label=v={value}"), &url], "a_total 1\n");
        let escaped = value.replace('\\', r"\\").replace('"', "\\\"");
        assert_eq!(gateway.sample(&format!("a_total{{job=\"j\",v=\"{escaped}\"}}")), 1.0);
    }
    // An empty value removes the label.
    pushes(&["--job=", "--label=v=", &url], "a_total{v=\"1\"} 1\n");
    assert_eq!(gateway.sample("a_total"), 1.0);
}

#[test]
fn formats_hints_and_large_bodies() {
    let gateway = flag("--web.route-prefix=/tally").run();
    let mut gateway = gateway;
    gateway.last_scrape(Some("/tally/metrics"));
    let url = gateway.url("/tally");
    let openmetrics = "# TYPE a counter\na_total 1\n# EOF\n";
    pushes(&[&url], openmetrics);
    pushes(&["--format=openmetrics", &url], openmetrics);
    pushes(&["--merge=max", "--ttl=1h", &url], "# TYPE g gauge\ng 5\n");
    pushes(&["--merge=max", &url], "# TYPE g gauge\ng 3\n");
    let large: String = (0..5000).map(|n| format!("large_total{{n=\"{n}\"}} 1\n")).collect();
    pushes(&[&url], &large);
    let text = gateway.get("/tally/metrics").text();
    let holds = |line: &str| assert!(text.contains(line), "{line}");
    holds("\na_total 2\n");
    holds("\ng 5\n");
    holds("large_total{n=\"4999\"} 1\n");
    holds("tallygate_push_bodies_total{encoding=\"gzip\",format=\"text\"} 1\n");
    holds("tallygate_push_bodies_total{encoding=\"identity\",format=\"openmetrics\"} 2\n");
}

#[test]
fn what_is_not_fit_is_not_sent() {
    let gateway = start();
    let url = gateway.url("");
    let bad = file("bad.prom", "good 1\nbad one\n");
    let bad = bad.to_str().unwrap();
    for (args, input, message) in [
        (&[&*url][..], "good 1\nbad one\n", "standard input: line 2, column 5: found \"one\""),
        (&[&url, bad], "", "bad.prom: line 2, column 5"),
        (&[&url], "# TYPE a counter\na -1\n", "negative"),
        (&[&url, "/nowhere.prom"], "", "/nowhere.prom: No such file"),
        (&[&url, "-", bad], "a 1\n", "bad.prom: line 2"),
    ] {
        fails(args, input, 1, message);
    }
    assert_eq!(gateway.pushed(), "");
    assert!(gateway.log().iter().all(|line| !line.contains("push refused")));
    // Each file is valid, but not both together.
    let twice = file("twice.prom", "a 1\n");
    let twice = twice.to_str().unwrap();
    fails(&[&url, twice, twice], "", 1, "all files together: line 2");
    let (code, _, err) = push(&[&url], "");
    assert_eq!((code, &*err), (0, "tallygate: there are no samples in what is pushed\n"));
}

#[test]
fn refusals_of_the_gateway_are_final_and_explained() {
    let mut gateway = flag("--push.merge-hint=false").run();
    gateway.expect_log("push refused");
    let url = gateway.url("");
    fails(&["--merge=max", &url], "a 1\n", 1, "422 Unprocessable Entity: this gateway does not");
    pushes(&["--key=k", &url], "a_total 1\n");
    pushes(&["--key=k", &url], "a_total 1\n");
    fails(&["--key=k", &url], "a_total 2\n", 1, "(each push needs a new key");
    let (code, out, err) = push(&["--key=k", "--verbose", &url], "a_total 1\n");
    let expected = format!("1 samples pushed to {url}/metrics, applied by an earlier try\n");
    assert_eq!((code, out, &*err), (0, expected, ""));
    assert_eq!(gateway.sample("a_total"), 1.0);
    fails(&[&gateway.url("/metrics/x")], "a 1\n", 1, "400 Bad Request");
}

#[test]
fn bad_usage() {
    for (args, message) in [
        (&[][..], "where to?"),
        (&["localhost:9091"], "not a URL such as"),
        (&["ftp://localhost"], "not a URL such as"),
        (&["http://"], "not a URL such as"),
        (&["http://user:secret@localhost"], "credentials in a URL"),
        (&["--jop=j", "http://h"], "unknown flag --jop; did you mean --job?"),
        (&["--job", "http://h", "--job=k"], "--job is given twice"),
        (&["--label=x", "http://h"], "it has no ="),
        (&["--label=__x=y", "http://h"], "--label=__x=y"),
        (&["--label=x=y", "--label=x=z", "http://h"], "given twice"),
        (&["--job=j", "--label=job=k", "http://h"], "given twice"),
        (&["--timeout=0s", "http://h"], "at least 1s"),
        (&["--timeout=soon", "http://h"], "--timeout=soon"),
        (&["--format=xml", "http://h"], "accepted are text, openmetrics, protobuf"),
        (&["--method=GET", "http://h"], "accepted are POST, PUT"),
        (&["--merge=median", "http://h"], "accepted are last, sum, min, max, mean"),
        (&["--key=", "http://h"], "it is empty"),
        (&["--key=ä", "http://h"], "printable ASCII"),
        (&["--verbose=1", "http://h"], "takes no value"),
        (&["--bearer-token-file=/nowhere", "http://h"], "--bearer-token-file=/nowhere"),
    ] {
        fails(args, "a 1\n", 64, message);
    }
    let both = [("TALLYGATE_BASIC_AUTH", "u:p"), ("TALLYGATE_BEARER_TOKEN", "t")];
    let (code, _, err) = tool(&["push", "http://h"], &both, "a 1\n");
    assert!(code == 64 && err.contains("use one of them"), "{code} {err}");
    let (code, _, err) = tool(&["--ttl.default=1h", "push", "http://h"], &[], "a 1\n");
    assert!(code == 64 && err.contains("tallygate push --help"), "{code} {err}");
    fails(&["--ca-file=/nowhere", "http://h"], "a 1\n", 1, "/nowhere: No such file");
}

#[test]
fn help_tells_of_each_flag_and_exit_status() {
    let (code, out, err) = push(&["--help"], "");
    assert_eq!((code, &*err), (0, ""));
    for word in ["--job=JOB", "--bearer-token-file=FILE", "--timeout=DURATION", "\n  75  "] {
        assert!(out.contains(word), "{word}");
    }
    assert!(out.lines().all(|line| line.chars().count() <= 80), "{out}");
    let (_, out, _) = tool(&["check", "-h"], &[], "");
    assert!(out.contains("Usage: tallygate check [FLAGS] [FILE...|URL]"), "{out}");
    let (_, out, _) = tool(&["--help"], &[], "");
    assert!(out.contains("push URL [FILE...]") && out.contains("check [FILE...|URL]"));
}

// === trying again

/// A proxy between the tool and the gateway, which spoils the first attempts.
struct Spoiler {
    address: SocketAddr,
    tries: Arc<AtomicUsize>,
}

/// What happens to one attempt.
#[derive(Clone, Copy, PartialEq)]
enum Spoil {
    /// It reaches the gateway, but the answer is lost.
    LoseAnswer,
    /// It does not reach the gateway.
    LoseRequest,
    /// The proxy answers with this.
    Answer(&'static str),
}

impl Spoiler {
    fn before(gateway: SocketAddr, spoils: &'static [Spoil]) -> Spoiler {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let tries = Arc::new(AtomicUsize::new(0));
        let counted = tries.clone();
        thread::spawn(move || {
            for mut client in listener.incoming().map_while(Result::ok) {
                let request = read_request(&mut client);
                let spoil = spoils.get(counted.fetch_add(1, Relaxed)).copied();
                let answer = match spoil {
                    Some(Spoil::LoseRequest) => continue,
                    Some(Spoil::Answer(answer)) => answer.as_bytes().to_vec(),
                    Some(Spoil::LoseAnswer) | None => forward(gateway, &request),
                };
                if spoil != Some(Spoil::LoseAnswer) {
                    let _ = client.write_all(&answer);
                }
            }
        });
        Spoiler { address, tries }
    }

    fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    fn tries(&self) -> usize {
        self.tries.load(Relaxed)
    }
}

fn read_request(client: &mut TcpStream) -> Vec<u8> {
    let mut reader = BufReader::new(client);
    let (mut request, mut length) = (Vec::new(), 0);
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        if let Some(value) = line.to_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().unwrap();
        }
        let last = line.trim().is_empty();
        if last {
            // No more than one answer on this connection.
            request.extend_from_slice(b"Connection: close\r\n");
        }
        request.extend_from_slice(line.as_bytes());
        if last {
            break;
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).unwrap();
    request.extend(body);
    request
}

fn forward(gateway: SocketAddr, request: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(gateway).unwrap();
    stream.write_all(request).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    answer
}

const BUSY: &str = "HTTP/1.1 429 Too Many Requests\r\nRetry-After: 1\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";
const BAD_GATEWAY: &str =
    "HTTP/1.1 502 Bad Gateway\r\nConnection: close\r\nContent-Length: 5\r\n\r\noops\n";
const ELSEWHERE: &str =
    "HTTP/1.1 301 Moved\r\nLocation: /elsewhere\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";

#[test]
fn whatever_gets_lost_a_push_counts_once() {
    use Spoil::{Answer, LoseAnswer, LoseRequest};
    let gateway = start();
    let cases: [&'static [Spoil]; 5] = [
        &[],
        &[LoseAnswer],
        &[LoseRequest],
        &[LoseAnswer, Answer(BAD_GATEWAY), LoseAnswer],
        &[LoseRequest, LoseAnswer, LoseRequest],
    ];
    for (number, spoils) in cases.into_iter().enumerate() {
        let spoiler = Spoiler::before(gateway.address, spoils);
        pushes(&["--job=j", &spoiler.url()], "a_total 1\n");
        assert_eq!(spoiler.tries(), spoils.len() + 1);
        assert_eq!(gateway.sample("a_total{job=\"j\"}"), (number + 1) as f64, "case {number}");
    }
}

#[test]
fn it_waits_as_long_as_it_is_asked_to() {
    let gateway = start();
    let spoiler = Spoiler::before(gateway.address, &[Spoil::Answer(BUSY)]);
    let started = Instant::now();
    let (code, _, err) = push(&["--verbose", &spoiler.url()], "a_total 1\n");
    assert!(code == 0 && err.contains("try 1: 429 Too Many Requests"), "{code} {err}");
    assert!(started.elapsed() >= Duration::from_secs(1));
    assert_eq!(gateway.sample("a_total"), 1.0);
}

#[test]
fn redirects_are_not_followed() {
    let gateway = start();
    let spoiler = Spoiler::before(gateway.address, &[Spoil::Answer(ELSEWHERE)]);
    fails(&[&spoiler.url()], "a_total 1\n", 1, "answers 301");
    assert_eq!(spoiler.tries(), 1);
}

#[test]
fn when_the_time_is_over_it_says_that_it_may_work_later() {
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let started = Instant::now();
    let url = format!("http://{nobody}");
    fails(&["--timeout=1s", &url], "a 1\n", 75, "cannot connect");
    assert!(started.elapsed() < Duration::from_secs(10));
    // The tool also gives up on a server that accepts the connection and never answers.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", silent.local_addr().unwrap());
    fails(&["--timeout=1s", &url], "a 1\n", 75, "gave up after");
}

/// The key is not older than the gateway, so even a gateway without a store accepts it.
#[test]
fn a_gateway_that_starts_late_gets_the_push() {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let url = format!("http://127.0.0.1:{port}");
    let pushing = thread::spawn(move || push(&["--timeout=20s", &url], "a_total 1\n"));
    thread::sleep(Duration::from_millis(300));
    let gateway = flag(&format!("--web.listen-address=127.0.0.1:{port}")).run();
    assert_eq!(pushing.join().unwrap(), (0, String::new(), String::new()));
    assert_eq!(gateway.sample("a_total"), 1.0);
}

// === check

#[test]
fn files_are_checked_like_pushes() {
    let (good, bad) = (file("good.prom", "a 1\nb 2\n"), file("bad.prom", "a 1 1700000000000\n"));
    let (good, bad) = (good.to_str().unwrap(), bad.to_str().unwrap());
    let (code, out, err) = tool(&["check", good, bad], &[], "");
    assert_eq!((code, out), (1, format!("ok: {good}: 2 samples, 2 series\n")));
    assert!(err.contains("bad.prom: line 1"), "{err}");
    let (code, out, _) = tool(&["check"], &[], "# TYPE a counter\na_total 1\n# EOF\n");
    assert_eq!((code, &*out), (0, "ok: standard input: 1 samples, 1 series\n"));
    let (code, _, err) = tool(&["check", "/nowhere"], &[], "");
    assert!(code == 1 && err.contains("/nowhere"), "{err}");
}

fn check(gateway: &Gateway) -> (i32, String, String) {
    tool(&["check", &gateway.url("")], &[], "")
}

#[test]
fn a_gateway_is_checked_from_push_to_scrape() {
    let gateway = start();
    gateway.accept("/metrics/job/j", "a_total 1\n");
    let before = gateway.pushed();
    let (code, out, err) = check(&gateway);
    assert_eq!((code, &*err), (0, ""));
    assert!(out.ends_with("/ takes pushes, knows keys, shows them, deletes\n"), "{out}");
    assert_eq!(gateway.pushed(), before);

    let (code, out, _) = check(&flag("--push.delete=ignore").run());
    assert!(code == 0 && out.contains("does not delete"), "{out}");

    let dropping = config("rules: [{match: '{job=\"tallygate_check\"}', drop: true}]").run();
    let (code, _, err) = check(&dropping);
    assert!(code == 1 && err.contains("what was pushed is not there"), "{err}");

    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let (code, _, err) = tool(&["check", &format!("http://{nobody}")], &[], "");
    assert!(code == 1 && err.contains("push: cannot connect"), "{err}");
    let (code, _, err) = tool(&["check", &gateway.url(""), "file"], &[], "");
    assert!(code == 64 && err.contains("one argument too many"), "{err}");
}
