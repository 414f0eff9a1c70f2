//! What is waited for, and how long: pauses between tries, silence, deadlines, a stop.

use super::*;

#[test]
fn retry_after_is_waited_for() {
    let server = Server::start(vec![reply("429 Too Many Requests", "Retry-After: 1\r\n", ""), page()]);
    let started = Instant::now();
    body_and_head(fetch(&server.url("/")));
    assert!(started.elapsed() >= Duration::from_secs(1));
}

#[test]
fn wait_past_the_deadline_is_not_begun() {
    let server = Server::start(vec![reply("503 Service Unavailable", "Retry-After: 30\r\n", "")]);
    let stop = Stop::with_deadline(Some(Instant::now() + Duration::from_secs(20)));
    let started = Instant::now();
    let error =
        source(settings(), &stop).fetch(&PageRequest::get(server.url("/")), None, || Ok(Vec::new())).unwrap_err();
    assert!(error.to_string().contains("in 1 try: answered 503"), "{error}");
    assert!(started.elapsed() < Duration::from_secs(5));
}

#[test]
fn deadline_ends_a_wait_as_unavailable_and_says_what_for() {
    let start = "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n[";
    let busy = || reply("503 Service Unavailable", "", "");
    let slow = |sent: &str| Reply(sent.into(), Duration::from_secs(2));
    for (script, what) in [
        (vec![slow("")], "was over: there was no answer yet"),
        (vec![slow("HTTP/1.1 200 OK\r\nX: ")], "there was no answer yet"),
        (vec![slow(start)], "the body was not complete after 1 bytes"),
        (vec![busy(), slow(start)], "after 1 bytes (the try before: answered 503 Service Unavailable)"),
    ] {
        let server = Server::start(script);
        let stop = Stop::with_deadline(Some(Instant::now() + Duration::from_millis(500)));
        let started = Instant::now();
        let url = server.url("/logs?key=s3cret");
        let error =
            source(settings(), &stop).fetch(&PageRequest::get(url.clone()), None, || Ok(Vec::new())).unwrap_err();
        assert!(error.to_string().contains(what) && error.to_string().contains("/logs gave no page"), "{error}");
        assert!(!error.chain().contains("s3cret") && error.kind() == ErrorKind::Unavailable, "{error}");
        assert!(started.elapsed() < Duration::from_secs(2), "{:?}", started.elapsed());
    }
}

/// A resolver that is silent for ever.
struct Silent(Waiting);

impl reqwest::dns::Resolve for Silent {
    fn resolve(&self, name: reqwest::dns::Name) -> reqwest::dns::Resolving {
        self.0.for_name(Some(name.as_str()));
        Box::pin(std::future::pending())
    }
}

#[test]
fn resolver_that_never_answers_is_named_with_the_host() {
    let url = PageUrl::parse("http://me:s3cret@api.example/l?key=s3cret").unwrap();
    for (deadline, timeout) in [(Some(Duration::from_millis(300)), 5000), (None, 300)] {
        let settings = HttpSettings { timeout: Duration::from_millis(timeout), retries: 0, ..settings() };
        let mut engine = Engine::new(&settings, &Auth::default(), &url).unwrap();
        let resolver = Arc::new(Silent(engine.waiting.clone()));
        let builder = Client::builder().dns_resolver(resolver).tls_built_in_root_certs(false).no_proxy();
        engine.client = builder.connect_timeout(settings.timeout).build().unwrap();
        let mut source = source(settings, &Stop::with_deadline(deadline.map(|left| Instant::now() + left)));
        source.engine = Some(engine);
        let error = source.fetch(&PageRequest::get(url.clone()), None, || Ok(Vec::new())).unwrap_err();
        assert!(error.to_string().ends_with("the resolver had given no address of api.example yet"), "{error}");
        assert!(!error.chain().contains("s3cret"), "{error}");
    }
}

#[test]
fn deadline_in_a_trail_that_goes_on_is_no_failure_and_one_that_hangs_is() {
    for (hung_for, stopped) in [(Duration::ZERO, true), (LIVELY, false)] {
        let server = Server::start(vec![page(), Reply(Vec::new(), Duration::from_secs(1))]);
        let stop = Stop::with_deadline(Some(Instant::now() + Duration::from_millis(400)));
        let mut source = source(settings(), &stop);
        source.fetch(&PageRequest::get(server.url("/?page=1")), None, || Ok(Vec::new())).unwrap();
        source.newest = source.newest.map(|newest| newest - hung_for);
        let second = source.fetch(&PageRequest::get(server.url("/?page=2")), None, || Ok(Vec::new()));
        assert_eq!(matches!(second, Ok(Fetched::Stopped)), stopped, "{second:?}");
    }
}

#[test]
fn stall_ends_a_try_at_the_time_out() {
    let head = "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n[";
    for (sent, what) in [("", "no answer within 200ms"), (head, "the body stalled for 200ms after 1 bytes")] {
        let server = Server::start(vec![Reply(sent.into(), Duration::from_secs(2))]);
        let settings = HttpSettings { timeout: Duration::from_millis(200), retries: 0, ..settings() };
        let started = Instant::now();
        let error = source(settings, &Stop::new())
            .fetch(&PageRequest::get(server.url("/")), None, || Ok(Vec::new()))
            .unwrap_err();
        assert!(error.to_string().contains(what), "{error}");
        assert!((200..1500).contains(&started.elapsed().as_millis()), "{:?}", started.elapsed());
    }
}

#[test]
fn stop_ends_a_stall_and_a_wait_at_once() {
    let slow = Backoff { base: Duration::from_secs(20), factor: 2, max: Duration::from_secs(20) };
    for reply in [Reply(Vec::new(), Duration::from_secs(4)), reply("503 Service Unavailable", "", "")] {
        let server = Server::start(vec![reply]);
        let (stop, started) = (Stop::new(), Instant::now());
        let asking = {
            let stop = stop.clone();
            std::thread::spawn(move || {
                std::thread::sleep(Duration::from_millis(100));
                stop.request(Signal::Interrupt);
            })
        };
        let mut source = source(HttpSettings { backoff: slow, ..settings() }, &stop);
        let fetched = source.fetch(&PageRequest::get(server.url("/")), None, || Ok(Vec::new())).unwrap();
        assert!(matches!(fetched, Fetched::Stopped));
        assert!(started.elapsed() < Duration::from_secs(3), "{:?}", started.elapsed());
        asking.join().unwrap();
    }
}
