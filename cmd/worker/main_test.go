package main

import (
	"flag"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
	"go.uber.org/goleak"

	"waybill/pipeline/embedded"
)

// The test binary stands for the programs too: started under one of these
// names it is that program, built as the tests are (with -race, say).
func TestMain(m *testing.M) {
	_ = flag.Set("test.parallel", "6") // the scripts wait more than they work; -parallel still goes before
	testscript.Main(leakChecked{m}, map[string]func(){
		"worker":      main,
		"nats-server": natsServer,
	})
}

// leakChecked runs the tests and then looks for goroutines they have left.
type leakChecked struct{ *testing.M }

func (m leakChecked) Run() int {
	code := m.M.Run()
	if err := goleak.Find(); code == 0 && err != nil {
		slog.New(slog.NewTextHandler(os.Stderr, nil)).Error("goroutines left behind", "error", err)
		return 1
	}
	return code
}

// natsServer is a NATS server as a program of its own, which survives the
// workers and can be killed itself. It writes to disk as one in production
// does.
func natsServer() {
	log := slog.New(slog.NewTextHandler(os.Stderr, nil))
	store := flag.String("store", "", "folder for JetStream's files")
	port := flag.Int("port", -1, "port on the loopback address; -1 takes a free one")
	flag.Parse()
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, os.Interrupt, syscall.SIGTERM)
	server, err := embedded.Start(embedded.Options{StoreDir: *store, Listen: true, Port: *port, SyncAlways: true})
	if err != nil {
		log.Error("NATS server not started", "error", err)
		os.Exit(1)
	}
	log.Info("NATS server ready", "url", server.URL())
	<-stop
	if err := server.Close(); err != nil {
		log.Error("NATS server not closed", "error", err)
		os.Exit(1)
	}
}
