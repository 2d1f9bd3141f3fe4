FROM docker.io/library/rust:1.95-bookworm AS build
WORKDIR /build
COPY . .
RUN cargo build --release --locked --bin trivault

FROM docker.io/library/debian:bookworm-slim
RUN apt-get update \
 && apt-get install -y --no-install-recommends ca-certificates curl postgresql-client \
 && rm -rf /var/lib/apt/lists/* \
 && useradd --system --create-home --home-dir /var/lib/trivault --shell /usr/sbin/nologin trivault
COPY --from=build /build/target/release/trivault /usr/local/bin/trivault
USER trivault
ENV TRIVAULT_DATA_DIR=/var/lib/trivault TRIVAULT_LISTEN=0.0.0.0:8097
VOLUME /var/lib/trivault
EXPOSE 8097
HEALTHCHECK CMD curl -fsS http://127.0.0.1:8097/readyz
ENTRYPOINT ["trivault"]
CMD ["serve"]
