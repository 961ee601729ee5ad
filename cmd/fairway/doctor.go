package main

import (
	"context"
	"encoding/json"

	"github.com/spf13/cobra"

	"github.com/fairway-cni/fairway/pkg/attachment"
	"github.com/fairway-cni/fairway/pkg/doctor"
)

func newDoctor(e *env) *cobra.Command {
	var o doctorFlags
	cmd := &cobra.Command{
		Use:   "doctor [OPTIONS]",
		Short: "Look for what breaks the networks of this host",
		Long: `Look for what breaks the networks of this host, and say how to mend it: one line for each thing that is found, or for
each check that finds nothing. Nothing is changed. The exit status is 1 when there is an error; warnings leave it 0.`,
		Example: `  fairway doctor
  fairway doctor --check firewall --check mtu
  fairway doctor --json | jq '.[] | select(.level == "error")'`,
		Args:              arguments(0, 0),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, _ []string) error {
			checks, err := doctor.Select(o.checks)
			if err != nil {
				return usageError{err}
			}
			ctx, cancel := untilInterrupted(cmd)
			defer cancel()
			return e.doctor(ctx, checks, o.json)
		},
	}
	cmd.Flags().StringSliceVar(&o.checks, "check", nil, "make only the check of this `name`; may be repeated")
	cmd.Flags().BoolVar(&o.json, "json", false, "print JSON")
	e.addAgentFlag(cmd)
	must(cmd.RegisterFlagCompletionFunc("check", cobra.FixedCompletions(doctor.Names(), cobra.ShellCompDirectiveNoFileComp)))
	return cmd
}

type doctorFlags struct {
	checks []string
	json   bool
}

// doctor makes checks and prints what they find.
func (e *env) doctor(ctx context.Context, checks []doctor.Check, asJSON bool) error {
	host, err := doctor.Examine(doctor.Places{
		Netconf: e.netconfDir, Agent: e.agent, Version: version,
		Runtime: attachment.Runtime{Plugins: e.pluginDirs(), Names: e.namesByID()}, // what plugins say beside their answer is found by other checks
	})
	if err != nil {
		return err
	}
	defer host.Close()
	findings := doctor.Run(ctx, host, checks)
	if asJSON {
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
