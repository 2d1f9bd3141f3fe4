//! Aliases and attributes.

use std::collections::HashMap;

use sqlx::{Postgres, QueryBuilder, Sqlite};

use super::{
    failure::noun_of,
    prelude::*,
    text::{askable, from_json, from_word, json, word},
};

/// Bytes of JSON in one attribute.
pub const ATTRIBUTE_LIMIT: usize = 16 * 1024;
/// Highest number tried behind a name that is taken.
const HIGHEST_NUMBER: u32 = 10_000;
/// Objects in one query; both databases take more parameters than that.
const OBJECTS_PER_QUERY: usize = 1_000;

impl Database {
    pub async fn resolve(&self, namespace: &str, name: &str) -> Result<Option<ObjectRef>> {
        if !askable(name) || !askable(namespace) {
            return Ok(None);
        }
        in_read!(self, tx => {
            match tx.resolve(namespace, name).await? {
                Some((kind, id)) => Some(ObjectRef::new(from_word(kind)?, id)),
                None => None,
            }
        })
    }

    /// The first name of each object in a namespace.
    pub async fn aliases(&self, namespace: &str, objects: &[ObjectRef]) -> Result<HashMap<ObjectRef, String>> {
        in_read!(self, tx => {
            let mut names = HashMap::with_capacity(objects.len());
            for some in objects.chunks(OBJECTS_PER_QUERY) {
                for (kind, id, name) in tx.aliases(namespace, some).await? {
                    // In the order of their creation: the first one stays.
                    names.entry(ObjectRef::new(from_word(kind)?, id)).or_insert(name);
                }
            }
            names
        })
    }

    /// Every name of these objects, in the order of their creation.
    pub async fn names_of(&self, objects: &[ObjectRef]) -> Result<Vec<(ObjectRef, Alias)>> {
        in_read!(self, tx => {
            let mut names = Vec::new();
            for some in objects.chunks(OBJECTS_PER_QUERY) {
                for (kind, id, namespace, name) in tx.names_of(some).await? {
                    names.push((ObjectRef::new(from_word(kind)?, id), Alias { namespace, name }));
                }
            }
            names
        })
    }

    pub async fn attributes_of(
        &self,
        namespace: &str,
        objects: &[ObjectRef],
    ) -> Result<HashMap<ObjectRef, Vec<Attribute>>> {
        in_read!(self, tx => {
            let mut attributes: HashMap<ObjectRef, Vec<Attribute>> = HashMap::with_capacity(objects.len());
            for some in objects.chunks(OBJECTS_PER_QUERY) {
                for row in tx.attributes(Some(namespace), some).await? {
                    let (object, attribute) = row.into_attribute()?;
                    attributes.entry(object).or_default().push(attribute);
                }
            }
            attributes
        })
    }

    /// Further names and attributes of objects that stand.
    pub async fn add_labels(&self, labels: &Labels, now: DateTime<Utc>) -> Result<()> {
        in_write!(self, tx => { tx.label(labels, now).await? })
    }

    /// `Null` removes it.
    pub async fn set_attribute(&self, object: ObjectRef, attribute: &Attribute, audit: &AuditEntry) -> Result<()> {
        in_write!(self, tx => {
            tx.put_attribute(object, attribute).await?;
            tx.audit(audit).await?;
        })
    }
}

#[derive(sqlx::FromRow)]
pub(super) struct AttributeRow {
    object_kind: String,
    object_id: Uuid,
    namespace: String,
    key: String,
    value: String,
}

impl AttributeRow {
    pub(super) fn into_attribute(self) -> Sql<(ObjectRef, Attribute)> {
        let Self { object_kind, object_id, namespace, key, value } = self;
        let attribute = Attribute { namespace, key, value: from_json(&value)? };
        Ok((ObjectRef::new(from_word(object_kind)?, object_id), attribute))
    }
}

#[duplicate_item(
    Tx           Db;
    [SqliteTx]   [Sqlite];
    [PostgresTx] [Postgres];
)]
impl Tx {
    /// Writes the names and attributes of new objects.
    pub(super) async fn label(&mut self, labels: &Labels, now: DateTime<Utc>) -> Sql<()> {
        let Labels { names, attributes } = labels;
        for (object, proposal) in names {
            self.name(*object, proposal, now).await?;
        }
        for (object, attribute) in attributes {
            self.put_attribute(*object, attribute).await?;
        }
        Ok(())
    }

    /// Gives a name, numbered where it is taken and may be. Given again to the same object, it changes nothing.
    pub(super) async fn name(&mut self, object: ObjectRef, proposal: &Proposal, now: DateTime<Utc>) -> Sql<String> {
        let Proposal { namespace, name, number_if_taken } = proposal;
        let mut candidate = name.clone();
        for number in 2..=HIGHEST_NUMBER {
            if self.insert_alias(object, namespace, &candidate, now).await? {
                return Ok(candidate);
            }
            if !number_if_taken {
                break;
            }
            candidate = format!("{name}-{number}");
        }
        let noun = noun_of(object.kind);
        Err(Error::new(ErrorCode::AlreadyExists(noun), format!("The name {name} is taken.")).into())
    }

    /// Whether the object has the name now.
    async fn insert_alias(&mut self, object: ObjectRef, namespace: &str, name: &str, now: DateTime<Utc>) -> Sql<bool> {
        let kind = word(&object.kind)?;
        let inserted = sqlx::query(
            "INSERT INTO aliases (namespace, name, object_kind, object_id, created_at) VALUES ($1, $2, $3, $4, $5)
             ON CONFLICT (namespace, name) DO NOTHING",
        )
        .bind(namespace)
        .bind(name)
        .bind(&kind)
        .bind(object.id)
        .bind(now)
        .execute(&mut *self.0)
        .await?
        .rows_affected();
        Ok(inserted == 1 || self.resolve(namespace, name).await? == Some((kind, object.id)))
    }

    async fn resolve(&mut self, namespace: &str, name: &str) -> Sql<Option<(String, Uuid)>> {
        Ok(sqlx::query_as("SELECT object_kind, object_id FROM aliases WHERE namespace = $1 AND name = $2")
            .bind(namespace)
            .bind(name)
            .fetch_optional(&mut *self.0)
            .await?)
    }

    async fn aliases(&mut self, namespace: &str, objects: &[ObjectRef]) -> Sql<Vec<(String, Uuid, String)>> {
        let mut query = QueryBuilder::<Db>::new("SELECT object_kind, object_id, name FROM aliases WHERE namespace = ");
        query.push_bind(namespace.to_owned()).push(" AND object_id IN (");
        let mut ids = query.separated(", ");
        for object in objects {
            ids.push_bind(object.id);
        }
        query.push(") ORDER BY seq");
        Ok(query.build_query_as().fetch_all(&mut *self.0).await?)
    }

    pub(super) async fn names_of(&mut self, objects: &[ObjectRef]) -> Sql<Vec<(String, Uuid, String, String)>> {
        let mut query =
            QueryBuilder::<Db>::new("SELECT object_kind, object_id, namespace, name FROM aliases WHERE object_id IN (");
        let mut ids = query.separated(", ");
        for object in objects {
            ids.push_bind(object.id);
        }
        query.push(") ORDER BY seq");
        Ok(query.build_query_as().fetch_all(&mut *self.0).await?)
    }

    pub(super) async fn attributes(
        &mut self,
        namespace: Option<&str>,
        objects: &[ObjectRef],
    ) -> Sql<Vec<AttributeRow>> {
        let mut query =
            QueryBuilder::<Db>::new("SELECT object_kind, object_id, namespace, key, value FROM attributes WHERE ");
        if let Some(namespace) = namespace {
            query.push("namespace = ").push_bind(namespace.to_owned()).push(" AND ");
        }
        query.push("object_id IN (");
        let mut ids = query.separated(", ");
        for object in objects {
            ids.push_bind(object.id);
        }
        query.push(") ORDER BY object_id, namespace, key");
        Ok(query.build_query_as().fetch_all(&mut *self.0).await?)
    }

    pub(super) async fn put_attribute(&mut self, object: ObjectRef, attribute: &Attribute) -> Sql<()> {
        let Attribute { namespace, key, value } = attribute;
        if value.is_null() {
            sqlx::query(
                "DELETE FROM attributes WHERE object_kind = $1 AND object_id = $2 AND namespace = $3 AND key = $4",
            )
            .bind(word(&object.kind)?)
            .bind(object.id)
            .bind(namespace)
            .bind(key)
            .execute(&mut *self.0)
            .await?;
            return Ok(());
        }
        let value = json(value)?;
        if value.len() > ATTRIBUTE_LIMIT {
            return Err(Error::invalid(format!("{key} is longer than {ATTRIBUTE_LIMIT} bytes.")).into());
        }
        sqlx::query(
            "INSERT INTO attributes (object_kind, object_id, namespace, key, value) VALUES ($1, $2, $3, $4, $5)
             ON CONFLICT (object_id, object_kind, namespace, key) DO UPDATE SET value = excluded.value",
        )
        .bind(word(&object.kind)?)
        .bind(object.id)
        .bind(namespace)
        .bind(key)
        .bind(value)
        .execute(&mut *self.0)
        .await?;
        Ok(())
    }

    /// The object leaves the catalogue: its names are free again.
    pub(super) async fn forget_labels(&mut self, object: ObjectRef) -> Sql<()> {
        let kind = word(&object.kind)?;
        sqlx::query("DELETE FROM aliases WHERE object_id = $1 AND object_kind = $2")
            .bind(object.id)
            .bind(&kind)
            .execute(&mut *self.0)
            .await?;
        sqlx::query("DELETE FROM attributes WHERE object_id = $1 AND object_kind = $2")
            .bind(object.id)
            .bind(&kind)
            .execute(&mut *self.0)
            .await?;
        Ok(())
    }
}
