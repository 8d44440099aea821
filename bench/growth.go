package main

import (
	"log/slog"

	"github.com/spf13/cobra"
)

func newGrowthCommand(_ *slog.Logger) *cobra.Command { return &cobra.Command{Use: "growth"} }
