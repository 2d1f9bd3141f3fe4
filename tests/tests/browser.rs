//! A person in a browser: headless Chromium signs in, makes a backup by the form, follows the job, and signs out.

#![allow(clippy::unwrap_used, reason = "test code")]

use std::{
    io::{BufRead as _, BufReader},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use fantoccini::{Client, ClientBuilder, Locator, elements::Element};
use trivault_tests::{World, world::PASSCODE};

/// ChromeDriver on a free port; killed when dropped.
struct Driver {
    child: Child,
    url: String,
}

impl Driver {
    fn start() -> Option<Self> {
        let program = trivault_testkit::require::program(
            "chromium",
            "chromedriver",
            "apt-get install -y chromium chromium-driver",
        )?;
        let mut child =
            Command::new(program).arg("--port=0").stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let port = lines.find_map(|line| {
            let line = line.unwrap();
            line.split("started successfully on port ").nth(1).map(|rest| rest.trim_end_matches('.').to_owned())
        });
        // Keeps the pipe drained.
        std::thread::spawn(move || lines.for_each(drop));
        Some(Self { child, url: format!("http://127.0.0.1:{}", port.unwrap()) })
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

async fn browser(driver: &Driver, profile: &std::path::Path) -> Client {
    let profile = format!("--user-data-dir={}", profile.display());
    let options = serde_json::json!({"goog:chromeOptions": {"binary": "/usr/bin/chromium", "args": [
        "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
        "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage", profile]}});
    let serde_json::Value::Object(capabilities) = options else { unreachable!() };
    ClientBuilder::rustls().unwrap().capabilities(capabilities).connect(&driver.url).await.unwrap()
}

/// The element, once the page that holds it is there.
async fn element(client: &Client, locator: Locator<'_>) -> Element {
    client.wait().at_most(Duration::from_secs(20)).for_element(locator).await.unwrap()
}

async fn text(client: &Client, css: &str) -> String {
    element(client, Locator::Css(css)).await.text().await.unwrap()
}

async fn fill(client: &Client, id: &str, value: &str) {
    element(client, Locator::Id(id)).await.send_keys(value).await.unwrap();
}

async fn click(client: &Client, locator: Locator<'_>) {
    element(client, locator).await.click().await.unwrap();
}

#[tokio::test]
async fn a_person_signs_in_backs_up_follows_the_job_and_signs_out() {
    let Some(driver) = Driver::start() else { return };
    let world = World::new();
    let client = browser(&driver, &world.path().join("profile")).await;
    let root = format!("{}/arcgis/admin", world.gateway.url);

    client.goto(&format!("{root}/system/disasterrecovery/stores")).await.unwrap();
    assert!(client.current_url().await.unwrap().path().ends_with("/admin/login"), "nobody is signed in yet");
    fill(&client, "username", "Administrator").await;
    fill(&client, "password", "wrong").await;
    click(&client, Locator::Id("login")).await;
    assert_eq!(text(&client, ".failure").await, "Invalid username or password.");
    client.find(Locator::Id("username")).await.unwrap().clear().await.unwrap();
    fill(&client, "username", "Administrator").await;
    fill(&client, "password", "password").await;
    click(&client, Locator::Id("login")).await;
    assert_eq!(text(&client, "#user").await, "Administrator");
    assert!(
        client.current_url().await.unwrap().path().ends_with("/stores"),
        "one is sent back to where one wanted to be"
    );
    assert_eq!(text(&client, ".crumbs").await, "Home > system > disasterrecovery > stores");

    click(&client, Locator::LinkText("default")).await;
    click(&client, Locator::LinkText("backups")).await;
    click(&client, Locator::LinkText("create")).await;
    fill(&client, "name", "by-hand").await;
    fill(&client, "description", "<b>bold</b> & \"quoted\"").await;
    fill(&client, "passcode", "short").await;
    click(&client, Locator::Id("submit")).await;
    assert!(text(&client, ".failure").await.contains("at least eight characters"));
    let name = client.find(Locator::Id("name")).await.unwrap().prop("value").await.unwrap();
    assert_eq!(name.as_deref(), Some("by-hand"), "what was typed is kept");
    let passcode = client.find(Locator::Id("passcode")).await.unwrap().prop("value").await.unwrap();
    assert_eq!(passcode.as_deref(), Some(""), "but never a passcode");
    fill(&client, "passcode", PASSCODE).await;
    click(&client, Locator::Id("submit")).await;
    click(&client, Locator::Id("job")).await;
    let begin = Instant::now();
    while !text(&client, "table.properties").await.contains("COMPLETED") {
        assert!(begin.elapsed() < Duration::from_secs(90), "{}", text(&client, "main").await);
        client.refresh().await.unwrap();
    }
    assert!(text(&client, "table.stages").await.contains("Stage Relational store"));

    client.goto(&format!("{root}/system/disasterrecovery/stores/default/backups/by-hand")).await.unwrap();
    let page = text(&client, "main").await;
    assert!(page.contains("completed") && page.contains("<b>bold</b> & \"quoted\""), "{page}");
    click(&client, Locator::LinkText("delete")).await;
    click(&client, Locator::Id("submit")).await;
    assert!(text(&client, ".notice").await.contains("Deleted the backup by-hand"));

    click(&client, Locator::Id("logout")).await;
    client.goto(&root).await.unwrap();
    assert!(client.current_url().await.unwrap().path().ends_with("/admin/login"), "signed out is signed out");
    client.close().await.unwrap();
}
