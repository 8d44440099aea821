package main

import (
	"log/slog"

	"github.com/spf13/cobra"
)

func newTableCommand(_ *slog.Logger) *cobra.Command { return &cobra.Command{Use: "table"} }
