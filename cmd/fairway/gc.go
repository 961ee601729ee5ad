package main

import (
	"context"
	"errors"
	"strings"

	"github.com/spf13/cobra"

	"github.com/fairway-cni/fairway/pkg/attachment"
	"github.com/fairway-cni/fairway/pkg/lifecycle"
	"github.com/fairway-cni/fairway/pkg/show"
)

func newGC(e *env) *cobra.Command {
	var o gcFlags
	cmd := &cobra.Command{
		Use:   "gc [OPTIONS]",
		Short: "Remove what containers have left that are gone",
		Long: `Remove what containers have left whose namespace has gone and that nobody has detached: links, rules and addresses.
On networks of CNI 1.1.0 their plugins also look for what no container has any more, such as after a plugin was killed. Bridges and
directories of addresses go whose network's file was removed by hand. What no record is known of and lives is kept.

No container is attached by fairway meanwhile. What other runtimes are attaching at the moment is spared; they know nothing of
it, so that it is better run while they are not starting many containers.`,
		Example: `  fairway gc --dry-run
  fairway gc`,
		Args:              arguments(0, 0),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, cancel := undisturbed(cmd)
			defer cancel()
			return e.gc(ctx, o)
		},
	}
	cmd.Flags().BoolVar(&o.dryRun, "dry-run", false, "print what would be removed, and remove nothing")
	cmd.Flags().StringVar(&o.format, "format", "", `"table", "table TEMPLATE", "json", or a Go template`)
	must(cmd.RegisterFlagCompletionFunc("format", completeFormat("json", "table")))
	return cmd
}

type gcFlags struct {
	dryRun bool
	format string
}

// gc removes what is stale, and prints which attachments that were.
func (e *env) gc(ctx context.Context, o gcFlags) error {
	rows, err := show.NewRows(o.format, []string{"Network", "Container", "Interface", "Addresses"}, map[string]string{
		"Network": "NETWORK", "Container": "CONTAINER", "Interface": "INTERFACE", "Addresses": "ADDRESSES", "ID": "CONTAINER ID",
	})
	if err != nil {
		return usageError{err}
	}
	networks, err := e.settled()
	if err != nil {
		return err
	}
	if !o.dryRun {
		removed, left, err := e.host().Collect(ctx, networks)
		return errors.Join(e.printStale(rows, removed, left), err)
	}
	attached, err := e.runtime().List()
	if err != nil {
		return err
	}
	interrupted, err := e.runtime().Interrupted()
	if err != nil {
		return err
	}
	left, err := e.host().Leftovers(networks)
	return errors.Join(e.printStale(rows, append(attachment.Stale(attached), interrupted...), left), err)
}

// printStale prints nothing, not even headings, when there is nothing stale.
func (e *env) printStale(rows show.Rows, stale []attachment.Attachment, left []lifecycle.Leftover) error {
	if len(stale)+len(left) == 0 {
		return nil
	}
	lines := make([]show.Row, len(stale))
	for i, a := range stale {
		var addresses []string
		for _, p := range a.Addresses {
			addresses = append(addresses, p.String())
		}
		lines[i] = show.Row{
			"Network": a.Network, "Container": a.DisplayName(), "ID": a.ID, "Interface": a.IfName,
			"Addresses": strings.Join(addresses, " "),
		}
	}
	for _, l := range left {
		lines = append(lines, show.Row{"Network": l.Network, "Container": l.ContainerID, "ID": l.ContainerID, "Interface": l.IfName, "Addresses": l.Object})
	}
	return rows.Print(e.stdout, lines)
}
