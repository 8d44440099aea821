# The worker and the enqueue command in one small image. Secrets are never built in: they come from the environment or
# from files when the container is run.
FROM golang:1.26 AS build
WORKDIR /src

# Modules first, so that they are fetched again only when they change.
COPY go.mod go.sum ./
RUN go mod download

COPY . .
RUN CGO_ENABLED=0 go build -trimpath -ldflags='-s -w' -o /out/ ./cmd/worker ./cmd/enqueue

# Alpine for its shell and its wget, which the health checks use; both programs are static and need nothing of it but
# the certificates.
FROM alpine:3.23
COPY --from=build /out/ /usr/local/bin/

# A number, so that an orchestrator of containers can see that it is not root.
USER 65532:65532
EXPOSE 8080
CMD ["worker", "run"]
