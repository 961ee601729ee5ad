package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/fairway-cni/fairway/pkg/agentapi"
	"github.com/fairway-cni/fairway/pkg/testnet"
)

// answerMax is how long an agent may take to say how it fares.
const answerMax = 5 * time.Second

func (l lab) ls(args []string) error {
	if len(args) > 0 {
		return fmt.Errorf("ls shows all hosts, and takes no arguments: %w", errUsage)
	}
	h, err := hosts()
	if err != nil {
		return err
	}
	table := tabwriter.NewWriter(os.Stdout, 0, 0, 3, ' ', 0)
	row(table, "HOST", "ADDRESSES", "ETCD", "PROCESSES", "AGENT") // the last, as it may be a sentence
	for _, host := range h.All {
		count, err := host.Processes()
		if err != nil {
			return err
		}
		etcd, agent := fare(host)
		row(table, host.Name, fmt.Sprint(host.V4, ", ", host.V6), etcd, fmt.Sprint(count), agent)
	}
	count, err := h.UnderlayProcesses()
	if err != nil {
		return err
	}
	etcd := "runs here"
	if count == 0 {
		etcd = "has ended"
	}
	row(table, "underlay", testnet.Gateway4+", "+testnet.Gateway6, etcd, fmt.Sprint(count), "-")
	return table.Flush()
}

func row(w io.Writer, cells ...string) { fmt.Fprintln(w, strings.Join(cells, "\t")) }

// fare says how an agent fares, and whether it has etcd.
func fare(host *testnet.Host) (etcd, agent string) {
	if !host.Alive() {
		return "-", "the host has been killed"
	}
	ctx, cancel := context.WithTimeout(context.Background(), answerMax)
	defer cancel()
	health, err := host.Agent().Health(ctx)
	switch {
	case errors.Is(err, agentapi.ErrNoAgent):
		return "-", "not running"
	case err != nil:
		return "-", err.Error()
	}
	etcd, agent = "away", "healthy"
	if health.Etcd.Connected {
		etcd = "connected"
	}
	if !health.Healthy {
		agent = strings.Join(health.Problems, "; ")
	}
	return etcd, agent
}
