package app

import (
	"fmt"
	"os"

	"github.com/spf13/cobra"
)

// NewCheckCommand is "headroom check".
func NewCheckCommand() *cobra.Command {
	o := DefaultOptions()
	cmd := &cobra.Command{
		Use:   "check",
		Short: "Lint a rules file",
		RunE: func(cmd *cobra.Command, _ []string) error {
			data, err := os.ReadFile(o.ConfigFile)
			if err != nil {
				return fmt.Errorf("--config: %w", err)
			}
			_, err = parse(o, data)
			return err
		},
	}
	o.AddFlags(cmd.Flags())
	return cmd
}
