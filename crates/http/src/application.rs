//! The one actix application that serves all dialects.

use std::{
    collections::HashMap,
    future::Future,
    net::{IpAddr, SocketAddr},
    pin::Pin,
};

use actix_web::{
    App, Error, HttpRequest,
    body::BoxBody,
    dev::{ServiceFactory, ServiceRequest, ServiceResponse},
    middleware::from_fn,
    web,
};
use trivault_engine::Engine;
use url::Url;

use crate::{
    DialectSelection, Limits, Network, Ownership, Refusal,
    front::{front, refuse},
    health,
    options::ServerOptions,
    ownership::Conflict,
};

type ReadyFuture = Pin<Box<dyn Future<Output = Result<(), trivault_engine::Error>> + Send>>;

/// What all workers share.
pub struct Shared {
    pub(crate) ownership: Ownership,
    /// By the address a listener is bound to; listeners that are not listed serve everything.
    pub(crate) selections: HashMap<SocketAddr, DialectSelection>,
    pub(crate) limits: Limits,
    pub(crate) public_url: Option<Url>,
    pub(crate) allowed_hosts: Vec<String>,
    pub(crate) trusted_proxies: Vec<Network>,
    pub(crate) ready: Box<dyn Fn() -> ReadyFuture + Send + Sync>,
    engine: Option<Engine>,
}

impl Shared {
    /// For [`application`]; the listeners of `options` are ignored.
    ///
    /// # Errors
    /// Two dialects claim the same paths.
    pub fn new(engine: Engine, options: ServerOptions) -> Result<Self, Conflict> {
        let of_ready = engine.clone();
        let ready = move || -> ReadyFuture {
            let engine = of_ready.clone();
            Box::pin(async move { engine.ready().await })
        };
        let mut shared = Self::without_engine(options, Box::new(ready))?;
        shared.engine = Some(engine);
        Ok(shared)
    }

    pub(crate) fn without_engine(
        options: ServerOptions,
        ready: Box<dyn Fn() -> ReadyFuture + Send + Sync>,
    ) -> Result<Self, Conflict> {
        let ServerOptions { listeners: _, dialects, limits, public_url, allowed_hosts, trusted_proxies } = options;
        Ok(Self {
            ownership: Ownership::new(dialects)?,
            selections: HashMap::new(),
            limits,
            public_url,
            allowed_hosts,
            trusted_proxies,
            ready,
            engine: None,
        })
    }

    pub(crate) fn of(request: &HttpRequest) -> Option<&web::Data<Self>> {
        request.app_data::<web::Data<Self>>()
    }

    pub(crate) fn trusts(&self, address: IpAddr) -> bool {
        self.trusted_proxies.iter().any(|network| network.contains(address))
    }

    pub(crate) fn serves(&self, listener: SocketAddr, dialect: &str) -> bool {
        self.selections.get(&listener).is_none_or(|selection| selection.includes(dialect))
    }
}

/// Builds the application; also for tests of dialects (`actix_web::test::init_service`).
pub fn application(
    shared: &web::Data<Shared>,
) -> App<
    impl ServiceFactory<ServiceRequest, Config = (), Response = ServiceResponse<BoxBody>, Error = Error, InitError = ()>
    + use<>,
> {
    App::new()
        .app_data(shared.clone())
        .configure(health::configure)
        .configure(|config| {
            if let Some(engine) = &shared.engine {
                config.app_data(web::Data::new(engine.clone()));
            }
            for dialect in shared.ownership.dialects() {
                dialect.configure(config);
            }
        })
        .default_service(web::to(|request: HttpRequest| async move { refuse(&request, &Refusal::NotFound) }))
        .wrap(from_fn(front))
}

#[cfg(test)]
pub(crate) mod tests {
    //! A dialect that speaks the shared layer's words, for the tests of this crate.

    use std::sync::Arc;

    use actix_web::HttpResponse;
    use trivault_engine::{Namer, NewObject, Proposal};

    use super::*;
    use crate::{Dialect, RawBody, Route, register};

    pub(crate) struct Speaker {
        name: &'static str,
        prefixes: Vec<String>,
    }

    impl Speaker {
        pub fn shared(name: &'static str, prefixes: &[&str]) -> Arc<dyn Dialect> {
            Arc::new(Self { name, prefixes: prefixes.iter().map(|prefix| (*prefix).to_owned()).collect() })
        }
    }

    struct Nameless;

    impl Namer for Nameless {
        fn names(&self, _: NewObject<'_>, _: &mut dyn FnMut(&mut [u8])) -> Vec<Proposal> {
            Vec::new()
        }
    }

    async fn echo(request: HttpRequest, body: RawBody) -> HttpResponse {
        let length = body.0.len();
        let base = crate::BaseUrl::of(&request);
        HttpResponse::Ok().body(format!("{} {length} {base}", request.path()))
    }

    async fn sleep_for_ever() -> HttpResponse {
        std::future::pending().await
    }

    async fn panic() -> HttpResponse {
        panic!("as the test wants");
    }

    /// A thousand bytes in pieces of ten; with the query `fail`, the stream breaks off after half of them.
    async fn download(request: HttpRequest) -> HttpResponse {
        let content = crate::downloads::Content {
            length: 1000,
            etag: "tag".to_owned(),
            content_type: "application/gzip",
            file_name: "a.tar.gz".to_owned(),
        };
        let fails = request.query_string() == "fail";
        crate::downloads::respond(&request, &content, |range| {
            let bytes: Vec<u8> = range.map(|at| u8::try_from(at % 251).unwrap()).collect();
            let pieces: Vec<_> = bytes.chunks(10).map(bytes::Bytes::copy_from_slice).collect();
            futures_util::stream::iter(pieces.into_iter().enumerate().map(move |(index, piece)| {
                if fails && index == 50 { Err(std::io::Error::other("as the test wants")) } else { Ok(piece) }
            }))
        })
    }

    impl Dialect for Speaker {
        fn name(&self) -> &'static str {
            self.name
        }

        fn prefixes(&self) -> Vec<String> {
            self.prefixes.clone()
        }

        fn configure(&self, config: &mut web::ServiceConfig) {
            use actix_web::http::Method;
            let at = |path: &str| format!("{}{path}", self.prefixes[0]);
            register(
                config,
                vec![
                    Route::new(Method::GET, at("/echo"), || web::route().to(echo)),
                    Route::new(Method::POST, at("/echo"), || web::route().to(echo)),
                    Route::new(Method::GET, at("/pending"), || web::route().to(sleep_for_ever)),
                    Route::new(Method::GET, at("/download"), || web::route().to(download)),
                    Route::new(Method::GET, at("/panic"), || web::route().to(panic)),
                ],
            );
        }

        fn canonical_path(&self, raw_path: &str) -> Option<String> {
            raw_path.strip_suffix('/').map(str::to_owned)
        }

        fn refuse(&self, refusal: &Refusal, _: &HttpRequest) -> HttpResponse {
            HttpResponse::build(match refusal {
                Refusal::MethodNotAllowed { .. } => actix_web::http::StatusCode::METHOD_NOT_ALLOWED,
                _ => actix_web::http::StatusCode::IM_A_TEAPOT,
            })
            .body(format!("{}: {refusal:?}", self.name))
        }

        fn openapi(&self) -> utoipa::openapi::OpenApi {
            utoipa::openapi::OpenApiBuilder::new().build()
        }

        fn namer(&self) -> Arc<dyn Namer> {
            Arc::new(Nameless)
        }
    }
}
