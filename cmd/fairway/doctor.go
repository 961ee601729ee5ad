package main

import (
	"context"
	"encoding/json"
	"errors"

	"github.com/spf13/cobra"

	"github.com/fairway-cni/fairway/pkg/attachment"
	"github.com/fairway-cni/fairway/pkg/conflist"
	"github.com/fairway-cni/fairway/pkg/doctor"
)

func newDoctor(e *env) *cobra.Command {
	var o doctorFlags
	cmd := &cobra.Command{
		Use:   "doctor [OPTIONS] [NETWORK|CONTAINER]",
		Short: "Look for what breaks the networks of this host",
		Long: `Look for what breaks the networks of this host, and say how to mend it: one line for each thing that is found, or for
each check that finds nothing. A line that begins with $ is the command that mends what stands above it. Nothing is changed. The exit
status is 1 when there is an error; warnings, and what cannot be decided, leave it 0.

With a network or a container, the way that its packets take is tried instead, hop by hop up to the first one that fails: interface, address,
bridge, neighbour, routes, rules, firewall, name. Packets are sent on this host's own links alone.`,
		Example: `  fairway doctor
  fairway doctor --check firewall --check mtu
  fairway doctor web
  fairway doctor --json | jq '.[] | select(.level == "error")'`,
		Args:              arguments(0, 1),
		ValidArgsFunction: e.completeNetworks(anyNetwork),
		RunE: func(cmd *cobra.Command, args []string) error {
			checks, err := doctor.Select(o.checks)
			switch {
			case err != nil:
				return usageError{err}
			case len(args) > 0 && len(o.checks) > 0:
				return usageError{errors.New("--check is for the whole host: leave out " + args[0])}
			}
			ctx, cancel := untilInterrupted(cmd)
			defer cancel()
			return e.doctor(ctx, o, func(ctx context.Context, host *doctor.Host) ([]doctor.Finding, error) {
				if len(args) == 0 {
					return doctor.Run(ctx, host, checks), nil
				}
				chosen, err := e.chosen(ctx, host, args[0])
				if err != nil {
					return nil, err
				}
				return doctor.Trace(ctx, host, args[0], chosen)
			})
		},
	}
	cmd.Flags().StringSliceVar(&o.checks, "check", nil, "make only the check of this `name`; may be repeated")
	cmd.Flags().BoolVar(&o.json, "json", false, "print JSON")
	e.addAgentFlag(cmd)
	e.addContainerFlags(cmd)
	must(cmd.RegisterFlagCompletionFunc("check", cobra.FixedCompletions(doctor.Names(), cobra.ShellCompDirectiveNoFileComp)))
	return cmd
}

type doctorFlags struct {
	checks []string
	json   bool
}

// mostChecked is for how many attachments, and of how many networks, plugins are asked unless that is all that is wanted: each takes some 20 ms.
const mostChecked = 16

// doctor looks at the host, and prints what is found.
func (e *env) doctor(ctx context.Context, o doctorFlags, look func(context.Context, *doctor.Host) ([]doctor.Finding, error)) error {
	places := doctor.Places{
		Netconf: e.netconfDir, Agent: e.agent, Version: version, Resolv: resolvFiles, MostChecked: mostChecked,
		Runtime: attachment.Runtime{Plugins: e.pluginDirs(), Names: e.namesByID()}, // what plugins say beside their answer is found by other checks
	}
	if len(o.checks) > 0 {
		places.MostChecked = 0
	}
	host, err := doctor.Examine(places)
	if err != nil {
		return err
	}
	defer host.Close()
	findings, err := look(ctx, host)
	if err != nil {
		return err
	}
	if o.json {
		encoder := json.NewEncoder(e.stdout)
		encoder.SetIndent("", "  ")
		encoder.SetEscapeHTML(false)
		err = encoder.Encode(findings)
	} else {
		err = doctor.Print(e.stdout, findings, doctor.Terminal{Width: e.width, Colour: e.colour})
	}
	if err == nil && doctor.Worst(findings) == doctor.Error {
		err = exitError{exitFailure}
	}
	return err
}

// chosen says of which attachments the way is tried: those of a network, or those of a container, whoever has attached it.
func (e *env) chosen(ctx context.Context, host *doctor.Host, ref string) (func(attachment.Attachment) bool, error) {
	n, err := host.Networks.Find(ref)
	if err == nil {
		return func(a attachment.Attachment) bool { return a.Network == n.Name }, nil
	}
	if !errors.Is(err, conflist.ErrNotFound) {
		return nil, err
	}
	c, err := e.finder(host.Attached).Find(ctx, ref)
	if err != nil {
		return nil, err
	}
	return func(a attachment.Attachment) bool { return a.ID == c.ID || a.In(c.Netns) }, nil
}
