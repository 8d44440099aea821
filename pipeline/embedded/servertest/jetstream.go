package servertest

import (
	"testing"

	"github.com/nats-io/nats.go/jetstream"

	"waybill/pipeline/embedded"
)

// JetStream runs an embedded server until the test ends, and gives it with a
// way to its streams.
func JetStream(tb testing.TB) (jetstream.JetStream, *embedded.Server) {
	tb.Helper()
	server, err := embedded.Start(embedded.Options{StoreDir: tb.TempDir()})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := server.Close(); err != nil {
			tb.Error(err)
		}
	})
	nc, err := server.Connect()
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(nc.Close)
	js, err := jetstream.New(nc)
	if err != nil {
		tb.Fatal(err)
	}
	return js, server
}
