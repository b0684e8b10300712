use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

#[test]
fn it_says_what_to_open_last_and_a_signal_ends_it_cleanly() {
    for signal in ["TERM", "INT"] {
        let mut server = start(&["--port=0", "--udp-port=0", "--tcp-port=0"]);
        let mut lines = BufReader::new(server.stderr.take().unwrap()).lines();
        let address = lines
            .by_ref()
            .map_while(Result::ok)
            .find_map(|line| line.split_once("open http://").map(|(_, rest)| rest.to_owned()))
            .expect("an address");
        let mut stream = TcpStream::connect(&address).unwrap();
        write!(stream, "GET /healthcheck HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
            .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.ends_with("ok"), "{answer}");
        let asked = Instant::now();
        kill(&server, signal);
        let status = server.wait().unwrap();
        assert_eq!(status.code(), Some(0), "{signal}");
        assert!(asked.elapsed() < Duration::from_secs(5), "{signal} took {:?}", asked.elapsed());
    }
}

#[test]
fn without_an_answer_about_the_public_address_it_says_whom_it_asked() {
    let silent = UdpSocket::bind("127.0.0.1:0").unwrap();
    let server = silent.local_addr().unwrap().to_string();
    let asked = format!("--stun-server={server}");
    let flags = ["--use-external-ip", &asked, "--port=0", "--udp-port=0", "--tcp-port=0"];
    fails(&flags, 1, &[&server, "rtc.node_ip", "--stun-server"]);
}

#[test]
fn a_taken_port_is_named_with_a_remedy() {
    let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = tcp.local_addr().unwrap().port();
    let port = format!("--port={port}");
    fails(&["--bind=127.0.0.1", &port, "--udp-port=0"], 1, &["TCP port", "in use", "--port"]);

    let udp = UdpSocket::bind("[::]:0").or_else(|_| UdpSocket::bind("0.0.0.0:0")).unwrap();
    let port = format!("--udp-port={}", udp.local_addr().unwrap().port());
    let udp_taken = ["--port=0", "--tcp-port=0", "--workers=1", &port];
    fails(&udp_taken, 1, &["UDP port", "in use", "--udp-port"]);

    let lanes = TcpListener::bind("[::]:0").or_else(|_| TcpListener::bind("0.0.0.0:0")).unwrap();
    let port = format!("--tcp-port={}", lanes.local_addr().unwrap().port());
    fails(&["--port=0", "--udp-port=0", &port], 1, &["TCP port", "in use", "--tcp-port"]);
}

#[test]
fn wrong_settings_are_named_with_a_remedy() {
    fails(&["--bind=home"], 2, &["--bind", "home"]);
    fails(&["--node-ip=300.1.1.1"], 2, &["--node-ip", "300.1.1.1"]);
    fails(&["--prot=1"], 2, &["--prot", "--port"]);
    fails(&["--config=/nowhere/roomful.yaml"], 2, &["/nowhere/roomful.yaml", "--config"]);
    fails(&["--bind=192.0.2.1", "--port=0", "--udp-port=0"], 1, &["192.0.2.1", "--bind"]);
    fails(&["--use-external-ip", "--stun-server=home"], 2, &["--stun-server", "home"]);
}

#[test]
fn an_interface_that_is_not_there_is_named_with_those_that_are() {
    let ports = ["--port=0", "--udp-port=0", "--tcp-port=0"];
    fails(&[ports[0], ports[1], ports[2], "--interface=warp0"], 1, &["warp0", "lo", "--interface"]);
}

#[test]
fn the_environment_is_read() {
    let output = Command::new(program()).env("ROOMFUL_PORT", "many").output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("many"));
    let output = Command::new(program()).env("LIVEKIT_KEYS", "nonsense").output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(text.contains("LIVEKIT_KEYS") && !text.contains("nonsense"), "{text}");
}

#[test]
fn livekits_variables_are_read_and_those_that_are_wrong_named() {
    for (name, value, expected) in [
        ("UDP_PORT", "9-3", "UDP_PORT must be a UDP port"),
        ("LIVEKIT_ROOM_AUTO_CREATE", "perhaps", "LIVEKIT_ROOM_AUTO_CREATE must be true or false"),
        ("LIVEKIT_KEY_FILE", "/nowhere/keys", "key_file /nowhere/keys"),
    ] {
        let output = Command::new(program()).env(name, value).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{name}");
        let text = String::from_utf8_lossy(&output.stderr);
        assert!(text.contains(expected), "{text}");
    }
}

#[test]
fn help_names_every_variable_and_no_secret() {
    let output = Command::new(program())
        .arg("--help")
        .env("ROOMFUL_KEYS", "a: hunter2")
        .env("LIVEKIT_KEYS", "a: hunter2")
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    for word in ["ROOMFUL_PORT", "ROOMFUL_NODE_IP", "LIVEKIT_KEYS", "7880", "7881", "7882"] {
        assert!(text.contains(word), "{word}");
    }
    assert!(!text.contains("hunter2"));
}

/// Runs the program, which must exit with `code` and say all of `words`, in few lines.
fn fails(arguments: &[&str], code: i32, words: &[&str]) {
    let Output { status, stderr, .. } = Command::new(program()).args(arguments).output().unwrap();
    let text = String::from_utf8_lossy(&stderr);
    assert_eq!(status.code(), Some(code), "{arguments:?}: {text}");
    for word in words {
        assert!(text.contains(word), "{arguments:?} does not say {word:?}: {text}");
    }
    assert!(!text.contains("backtrace") && text.lines().count() < 10, "{text}");
}

fn start(arguments: &[&str]) -> Child {
    Command::new(program()).args(arguments).stderr(Stdio::piped()).spawn().unwrap()
}

fn kill(child: &Child, signal: &str) {
    let status = Command::new("kill").args(["-s", signal, &child.id().to_string()]).status();
    assert!(status.unwrap().success());
}

fn program() -> &'static str {
    env!("CARGO_BIN_EXE_roomful")
}
