package main

import (
	"context"
	"errors"
	"strings"

	"github.com/containernetworking/cni/libcni"
	"github.com/spf13/cobra"

	"github.com/fairway-cni/fairway/pkg/attachment"
	"github.com/fairway-cni/fairway/pkg/conflist"
	"github.com/fairway-cni/fairway/pkg/format"
)

func newGC(e *env) *cobra.Command {
	var o gcFlags
	cmd := &cobra.Command{
		Use:   "gc [OPTIONS]",
		Short: "Remove what containers have left that are gone",
		Long: `Remove what containers have left whose namespace has gone and that nobody has detached: links, rules and addresses.
On networks of CNI 1.1.0 their plugins also look for what no container has any more, such as after a plugin was killed.

No container is attached by fairway meanwhile. What other runtimes are attaching at the moment is spared; they know nothing of
it, so that it is better run while they are not starting many containers.`,
		Example: `  fairway gc --dry-run
  fairway gc`,
		Args:              arguments(0, 0),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, cancel := untilInterrupted(cmd)
			defer cancel()
			return e.gc(ctx, o)
		},
	}
	cmd.Flags().BoolVar(&o.dryRun, "dry-run", false, "print what would be detached, and remove nothing")
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
	rows, err := format.NewRows(o.format, []string{"Network", "Container", "Interface", "Addresses"}, map[string]string{
		"Network": "NETWORK", "Container": "CONTAINER", "Interface": "INTERFACE", "Addresses": "ADDRESSES", "ID": "CONTAINER ID",
	})
	if err != nil {
		return usageError{err}
	}
	if o.dryRun {
		attached, err := e.runtime().List()
		if err != nil {
			return err
		}
		return e.printStale(rows, attachment.Stale(attached))
	}
	networks, err := e.networks()
	if err != nil {
		return err
	}
	removed, err := e.runtime().Collect(ctx, collectable(networks.All))
	return errors.Join(e.printStale(rows, removed), err)
}

// printStale prints nothing, not even headings, when there is nothing stale.
func (e *env) printStale(rows format.Rows, stale []attachment.Attachment) error {
	if len(stale) == 0 {
		return nil
	}
	lines := make([]format.Row, len(stale))
	for i, a := range stale {
		var addresses []string
		for _, p := range a.Addresses {
			addresses = append(addresses, p.String())
		}
		lines[i] = format.Row{
			"Network": a.Network, "Container": a.DisplayName(), "ID": a.ID, "Interface": a.IfName,
			"Addresses": strings.Join(addresses, " "),
		}
	}
	return rows.Print(e.stdout, lines)
}

// collectable is the networks whose plugins may hold something for a container. host and none hold nothing.
func collectable(all []conflist.Network) (lists []*libcni.NetworkConfigList) {
	for _, n := range all {
		if n.List != nil && n.Driver != "host" && n.Driver != "null" {
			lists = append(lists, n.List)
		}
	}
	return lists
}
