//! Users and tokens.

use trivault_engine::{db::*, *};
use uuid::Uuid;

use crate::{contract, fixtures::*};

contract!(
    users_are_unique_by_name_and_change_their_version,
    a_token_stands_with_its_user_and_ancestors,
    api_tokens_are_found_by_hash_and_audience,
    expired_tokens_go_when_nothing_descends_from_them,
);

fn user(name: &str) -> User {
    User {
        id: UserId(Uuid::now_v7()),
        name: name.into(),
        role: Role::Operator,
        disabled: false,
        created_at: at(0),
        updated_at: at(0),
    }
}

fn token(user: UserId, parent: Option<TokenId>) -> TokenRow {
    TokenRow {
        id: TokenId(Uuid::now_v7()),
        kind: TokenKind::Bearer,
        audience: "dbaas".into(),
        name: String::new(),
        user,
        parent,
        scope: Scope::Source(SourceId(Uuid::now_v7())),
        claims: vec![("app".into(), "my-app".into())],
        secret_hash: None,
        created_at: at(0),
        last_used_at: None,
        expires_at: Some(at(3_600)),
        revoked_at: None,
    }
}

async fn users_are_unique_by_name_and_change_their_version(place: Place) {
    let (db, alice) = (&place.db, user("alice"));
    db.insert_user(&alice, "hash-1", &Labels::default(), &audit("x")).await.unwrap();
    let error = db.insert_user(&user("alice"), "hash", &Labels::default(), &audit("x")).await.unwrap_err();
    assert_eq!(error.code, ErrorCode::AlreadyExists(Noun::User));
    let found = db.credentials("alice").await.unwrap().unwrap();
    assert_eq!((found.user, found.password_hash.as_str(), found.version), (alice.clone(), "hash-1", 1));
    let change = UserChange { role: Some(Role::Admin), ..Default::default() };
    let changed = db.change_user(alice.id, &change, &AuditEntry { at: at(5), ..audit("x") }).await.unwrap().unwrap();
    assert_eq!((changed.role, changed.disabled, changed.updated_at), (Role::Admin, false, at(5)));
    let change = UserChange { disabled: Some(true), password_hash: Some("hash-2".into()), ..Default::default() };
    db.change_user(alice.id, &change, &audit("x")).await.unwrap().unwrap();
    let found = db.credentials("alice").await.unwrap().unwrap();
    assert_eq!((found.user.disabled, found.password_hash.as_str(), found.version), (true, "hash-2", 3));
    assert_eq!(db.users().await.unwrap(), [found.user.clone()]);
    assert_eq!(db.user(alice.id).await.unwrap(), Some(found.user));
    assert!(db.change_user(UserId(Uuid::now_v7()), &change, &audit("x")).await.unwrap().is_none());
}

async fn a_token_stands_with_its_user_and_ancestors(place: Place) {
    let (db, alice) = (&place.db, user("alice"));
    db.insert_user(&alice, "hash", &Labels::default(), &audit("x")).await.unwrap();
    let first = token(alice.id, None);
    let second = token(alice.id, Some(first.id));
    let third = token(alice.id, Some(second.id));
    for token in [&first, &second, &third] {
        db.insert_token(token, &audit("x")).await.unwrap();
    }
    assert!(db.revoke_token(first.id, &AuditEntry { at: at(9), ..audit("x") }).await.unwrap());
    assert!(!db.revoke_token(first.id, &audit("x")).await.unwrap());
    let standing = db.token(third.id).await.unwrap().unwrap();
    assert_eq!((standing.user, standing.token.id), (alice, third.id));
    assert_eq!((&standing.token.scope, &standing.token.claims), (&third.scope, &third.claims));
    let ancestors: Vec<_> = standing.ancestors.iter().map(|token| (token.id, token.revoked_at)).collect();
    assert_eq!(ancestors, [(second.id, None), (first.id, Some(at(9)))]);
    assert!(db.token(TokenId(Uuid::now_v7())).await.unwrap().is_none());
}

async fn api_tokens_are_found_by_hash_and_audience(place: Place) {
    let (db, alice) = (&place.db, user("alice"));
    db.insert_user(&alice, "hash", &Labels::default(), &audit("x")).await.unwrap();
    let api =
        TokenRow { kind: TokenKind::Api, secret_hash: Some(vec![5; 32]), name: "ci".into(), ..token(alice.id, None) };
    db.insert_token(&api, &audit("x")).await.unwrap();
    assert!(db.token_by_hash("couchbase", &[5; 32]).await.unwrap().is_none());
    assert!(db.token_by_hash("dbaas", &[6; 32]).await.unwrap().is_none());
    assert_eq!(db.token_by_hash("dbaas", &[5; 32]).await.unwrap().unwrap().token.id, api.id);
    db.touch_token(api.id, at(8)).await.unwrap();
    let listed = db.api_tokens(Some(alice.id), "dbaas").await.unwrap();
    assert_eq!((listed[0].name.as_str(), listed[0].last_used_at), ("ci", Some(at(8))));
    assert_eq!(db.api_tokens(None, "dbaas").await.unwrap(), listed);
    assert_eq!(db.api_tokens(Some(UserId(Uuid::now_v7())), "dbaas").await.unwrap(), []);
    db.revoke_token(api.id, &audit("x")).await.unwrap();
    assert_eq!(db.api_tokens(None, "dbaas").await.unwrap(), []);
}

async fn expired_tokens_go_when_nothing_descends_from_them(place: Place) {
    let (db, alice) = (&place.db, user("alice"));
    db.insert_user(&alice, "hash", &Labels::default(), &audit("x")).await.unwrap();
    let parent = token(alice.id, None);
    let child = TokenRow { expires_at: Some(at(9_000)), ..token(alice.id, Some(parent.id)) };
    let forever = TokenRow { expires_at: None, ..token(alice.id, None) };
    for token in [&parent, &child, &forever] {
        db.insert_token(token, &audit("x")).await.unwrap();
    }
    assert_eq!(db.delete_expired_tokens(at(8_000)).await.unwrap(), 0);
    assert_eq!(db.delete_expired_tokens(at(10_000)).await.unwrap(), 1);
    assert_eq!(db.delete_expired_tokens(at(10_000)).await.unwrap(), 1);
    assert!(db.token(forever.id).await.unwrap().is_some());
}
