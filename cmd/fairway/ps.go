package main

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/fairway-cni/fairway/pkg/detached"
	"github.com/fairway-cni/fairway/pkg/state/ports"
)

// psFlags are those of `fairway ps`, as given.
type psFlags struct{ all, quiet, noTrunc bool }

func newPs(e *env) *cobra.Command {
	var o psFlags
	cmd := &cobra.Command{
		Use:   "ps [OPTIONS]",
		Short: "List commands that run in the background",
		Long: `List commands that "fairway run --detach" has left in the background. Containers of other runtimes, and commands on a terminal, are
shown by "fairway inspect" and "fairway topology".`,
		Example: `  fairway ps
  fairway ps --all --no-trunc`,
		Args:              arguments(0, 0),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE:              func(*cobra.Command, []string) error { return e.ps(o) },
	}
	flags := cmd.Flags()
	flags.BoolVarP(&o.all, "all", "a", false, "also those that have ended")
	flags.BoolVarP(&o.quiet, "quiet", "q", false, "print IDs only")
	flags.BoolVar(&o.noTrunc, "no-trunc", false, "print IDs and commands in full")
	return cmd
}

func (e *env) ps(o psFlags) error {
	all, err := e.containers().List()
	if err != nil {
		return err
	}
	published := map[string][]string{}
	if !o.quiet && len(all) > 0 {
		if published, err = e.publishedByContainer(); err != nil {
			e.warn(fmt.Errorf("published ports are not shown: %w", err))
		}
	}
	var text strings.Builder
	table := tabwriter.NewWriter(&text, 0, 0, 3, ' ', 0)
	if !o.quiet {
		fmt.Fprintln(table, "CONTAINER ID\tCOMMAND\tCREATED\tSTATUS\tPORTS\tNAMES")
	}
	for _, c := range all {
		if !c.Running && !o.all {
			continue
		}
		id, command := c.ID, strings.Join(c.Command, " ")
		if !o.noTrunc {
			id, command = id[:min(12, len(id))], shortened(command)
		}
		if o.quiet {
			fmt.Fprintln(table, id)
			continue
		}
		fmt.Fprintf(table, "%s\t%q\t%s ago\t%s\t%s\t%s\n", id, command, lasting(time.Since(c.Created)), statusText(c), strings.Join(published[c.ID], ", "), c.Name)
	}
	if err := table.Flush(); err != nil {
		return err
	}
	_, err = io.WriteString(e.stdout, text.String())
	return err
}

// publishedByContainer is the published ports, as docker ps writes them, by the containers' IDs.
func (e *env) publishedByContainer() (map[string][]string, error) {
	attached, err := e.runtime().List()
	if err != nil {
		return nil, err
	}
	byOwner, err := publishedBy(attached)
	if err != nil {
		return nil, err
	}
	of := make(map[string][]string)
	for _, a := range attached {
		for _, p := range ports.Join(byOwner[a.Owner().Tag()]) {
			of[a.ID] = append(of[a.ID], p.String())
		}
	}
	return of, nil
}

func shortened(command string) string {
	const most = 20
	if text := []rune(command); len(text) > most {
		return string(text[:most-1]) + "…"
	}
	return command
}

func statusText(c detached.Container) string {
	switch {
	case c.Running:
		return "Up " + lasting(time.Since(c.Created))
	case c.Ended.IsZero():
		return "Dead"
	}
	return fmt.Sprintf("Exited (%d) %s ago", c.Status, lasting(time.Since(c.Ended)))
}

// lasting is a time as people say it: its largest unit.
func lasting(d time.Duration) string {
	for _, unit := range []struct {
		name string
		of   time.Duration
	}{{"day", 24 * time.Hour}, {"hour", time.Hour}, {"minute", time.Minute}} {
		if n := int(d / unit.of); n == 1 {
			return "1 " + unit.name
		} else if n > 1 {
			return fmt.Sprintf("%d %ss", n, unit.name)
		}
	}
	if n := int(d / time.Second); n != 1 {
		return fmt.Sprintf("%d seconds", n)
	}
	return "1 second"
}
