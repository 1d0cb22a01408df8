//! Drive the hooks of a repository through their whole life with octocrab.
//!
//! Its arguments are the server's address, a key and a receiver's address. It writes a line "deliver" and waits for an
//! answer wherever deliveries have to be sent, and at its end all that it saw, as one line of JSON.

use octocrab::models::hooks::{Config, ContentType, Delivery, Hook};
use octocrab::models::webhook_events::WebhookEventType;
use octocrab::{Error, Octocrab, Result};
use serde_json::{json, Map, Value};

const OWNER: &str = "octocat";
const NAME: &str = "Hello-World";
/// A key that nobody has.
const STRANGER: &str = "hh_000000000000_aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";

fn connect(url: &str, key: &str) -> Octocrab {
    let builder = Octocrab::builder().base_uri(format!("{url}/api/v3")).unwrap();
    builder.personal_token(key.to_string()).build().unwrap()
}

fn deliver() {
    println!("deliver");
    std::io::stdin().read_line(&mut String::new()).unwrap();
}

/// The status, the message and the fields that an error carries.
fn refusal<T>(result: Result<T>) -> Value {
    match result.err() {
        Some(Error::GitHub { source, .. }) => {
            let rows = source.errors.unwrap_or_default();
            let fields: Vec<_> =
                rows.iter().map(|row| format!("{} {}", row["field"].as_str().unwrap(), row["code"].as_str().unwrap())).collect();
            json!([source.status_code.as_u16(), source.message, fields])
        }
        other => panic!("not an error of GitHub's: {other:?}"),
    }
}

fn with(url: &str) -> Hook {
    Hook {
        name: "web".into(),
        active: true,
        events: vec![WebhookEventType::Push],
        config: Config { url: url.into(), ..Config::default() },
        ..Hook::default()
    }
}

fn shown(delivery: &Delivery) -> Value {
    json!([delivery.event, delivery.status, delivery.status_code, delivery.redelivery])
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().collect();
    let [_, url, key, receiver] = &arguments[..] else { panic!("URL KEY RECEIVER") };
    let client = connect(url, key);
    let repositories = client.repos(OWNER, NAME);
    let hooks = repositories.hooks();
    let mut saw = Map::new();

    saw.insert("login".into(), json!(client.current().user().await?.login));
    saw.insert("limit".into(), json!(client.ratelimit().get().await?.resources.core.limit));
    saw.insert("organization".into(), json!(client.orgs(OWNER).get().await?.hooks_url));
    saw.insert("profile".into(), json!(client.users(OWNER).profile().await?.login));
    let repository = repositories.get().await?;
    let admin = repository.permissions.map(|permissions| permissions.admin);
    saw.insert("repository".into(), json!([repository.full_name, repository.owner.map(|owner| owner.login), admin]));

    let mut wanted = with(receiver);
    wanted.config.content_type = Some(ContentType::Json);
    wanted.config.secret = Some("It's a Secret".into());
    let made = hooks.create(wanted).await?;
    let status = made.last_response.and_then(|response| response.status);
    saw.insert("made".into(), json!([made.r#type, made.name, made.active, made.events, made.config, status]));
    saw.insert("at".into(), json!(made.created_at.map(|at| at.timestamp())));
    let mut ids = vec![made.id];
    for path in ["/2", "/3"] {
        ids.push(hooks.create(with(&format!("{receiver}{path}"))).await?.id);
    }
    let mut pages: Vec<Vec<u64>> = vec![];
    let mut page = Some(hooks.list().per_page(2).send().await?);
    while let Some(this) = page {
        pages.push(this.items.iter().map(|hook| hook.id).collect());
        page = client.get_page(&this.next).await?;
    }
    saw.insert("ids".into(), json!(ids));
    saw.insert("pages".into(), json!(pages));
    let id = ids[0];

    let changed = hooks.update(id).add_events(vec![WebhookEventType::Issues]).send().await?;
    saw.insert("events".into(), json!([changed.events, hooks.get(id).await?.events]));
    let form = hooks.update_config(id).content_type(ContentType::Form).send().await?;
    saw.insert("config".into(), json!([form.content_type, hooks.get_config(id).await?.content_type]));

    hooks.ping(id).await?;
    deliver();
    hooks.test(id).await?;
    deliver();
    let mut deliveries: Vec<Delivery> = vec![];
    let mut page = Some(hooks.deliveries(id).list().per_page(1).send().await?);
    while let Some(mut this) = page {
        deliveries.append(&mut this.take_items());
        page = client.get_page(&this.next).await?;
    }
    saw.insert("deliveries".into(), deliveries.iter().map(shown).collect());
    let ping = &deliveries[1];
    let whole = hooks.get_delivery(id, ping.id).await?;
    let payload = whole.request.payload.unwrap();
    saw.insert("whole".into(), json!([whole.guid == ping.guid, payload["hook_id"] == id, whole.response.payload]));
    hooks.redeliver(id, ping.id).await?;
    deliver();
    let again = client.hooks(OWNER).repo(NAME.into()).list_deliveries(id.into()).per_page(1).send().await?;
    saw.insert("again".into(), again.items.iter().map(shown).collect());

    saw.insert("missing".into(), refusal(client.repos(OWNER, "nowhere").get().await));
    saw.insert("invalid".into(), refusal(hooks.update(id).content_type(ContentType::Json).send().await));
    saw.insert("stranger".into(), refusal(connect(url, STRANGER).current().user().await));

    for id in ids {
        hooks.delete(id).await?;
    }
    saw.insert("left".into(), json!(hooks.list().send().await?.items.len()));
    println!("{}", Value::Object(saw));
    Ok(())
}
