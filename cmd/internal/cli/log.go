package cli

import (
	"io"
	"log/slog"
	"os"
	"time"

	"github.com/lmittmann/tint"
	"github.com/spf13/pflag"
	"golang.org/x/term"
)

// Logging holds what the user said about the log.
type Logging struct {
	Level  string // debug, info, warn or error; info if empty
	Format string // auto, text or json; auto if empty: coloured on a terminal, text elsewhere
}

// AddFlags adds --log-level and --log-format.
func (l *Logging) AddFlags(fs *pflag.FlagSet) {
	ChoiceFlag(fs, &l.Level, "log-level", "", "info", []string{"debug", "info", "warn", "error"}, "least severity that is logged")
	ChoiceFlag(fs, &l.Format, "log-format", "", "auto", []string{"auto", "text", "json"}, "form of the log on standard error")
}

// New gives the logger the flags ask for. NO_COLOR is honoured.
func (l Logging) New(w io.Writer) *slog.Logger {
	var level slog.Level
	if err := level.UnmarshalText([]byte(l.Level)); err != nil {
		level = slog.LevelInfo
	}
	switch {
	case l.Format == "json":
		return slog.New(slog.NewJSONHandler(w, &slog.HandlerOptions{Level: level}))
	case l.Format != "text" && IsTerminal(w):
		return slog.New(tint.NewTextHandler(w, &tint.Options{Level: level, TimeFormat: time.TimeOnly, NoColor: os.Getenv("NO_COLOR") != ""}))
	}
	return slog.New(slog.NewTextHandler(w, &slog.HandlerOptions{Level: level}))
}

// IsTerminal reports whether somebody is looking at what is written to w.
func IsTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}
