// Package rulewatch notices what others delete of fairway's nftables, such as by `nft flush ruleset`, and has it declared
// again. It runs in the host's network namespace and needs CAP_NET_ADMIN.
package rulewatch

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/fairway-cni/fairway/pkg/kernel"
	"github.com/fairway-cni/fairway/pkg/state"
)

// settle is how long more deletions are waited for: what comes after them, as of a firewall that is loaded again, and a
// container's DEL, whose link goes after its elements.
const settle = 200 * time.Millisecond

// tables begin the names of fairway's tables.
const tables = "fairway"

// Watch calls repair after something was deleted that is still declared, until the context ends. What the DEL of an attachment
// deletes is not: its link goes as well. Nor is what this process deletes: an agent takes elements away with each host that goes.
func Watch(ctx context.Context, repair func(context.Context)) error {
	return watch(ctx, false, repair)
}

// watch also takes what this process deletes for others' when own says so.
func watch(ctx context.Context, own bool, repair func(context.Context)) error {
	monitor, err := kernel.MonitorRules()
	if err != nil {
		return err
	}
	losses := make(chan kernel.RuleEvent, 1024)
	failed := make(chan error, 1)
	go func() {
		failed <- monitor.Run(ctx, tables, own, func(e kernel.RuleEvent) {
			select {
			case losses <- e:
			default: // as many as that are known of already
			}
		})
	}()
	for {
		select {
		case err := <-failed:
			return err
		case first := <-losses:
			if lost := gather(ctx, first, losses); needsRepair(lost) {
				slog.Info("rules were deleted, declaring them again")
				repair(ctx) // what it replaces is a loss as well; the next call finds all in place
			}
		}
	}
}

// gather is a loss with those that follow it shortly.
func gather(ctx context.Context, first kernel.RuleEvent, losses <-chan kernel.RuleEvent) []kernel.RuleEvent {
	all := []kernel.RuleEvent{first}
	end := time.After(settle)
	for {
		select {
		case <-ctx.Done():
			return all
		case <-end:
			return all
		case e := <-losses:
			all = append(all, e)
		}
	}
}

// needsRepair says whether something is gone that is still to be there: rules, what a network has, or an element of an
// attachment whose link is there.
func needsRepair(lost []kernel.RuleEvent) bool {
	k, err := kernel.Open("")
	if err != nil {
		return true
	}
	defer k.Close()
	var tags []string
	seen := make(map[string]bool)
	for _, e := range lost {
		switch {
		case e.Tags != nil:
			tags = append(tags, e.Tags...)
			continue
		case e.Chain == "":
			return true
		}
		chain := fmt.Sprint(e.Table.Family, " ", e.Table.Name, " ", e.Chain)
		if !seen[chain] && !complete(k, e) {
			return true
		}
		seen[chain] = true
	}
	if slices.ContainsFunc(tags, func(tag string) bool { return !state.IsTag(tag) }) {
		return true
	}
	links, err := kernel.Dump(k.Host.LinkList)
	if err != nil {
		return true
	}
	for _, link := range links {
		if slices.Contains(tags, link.Attrs().Alias) {
			return true
		}
	}
	return false
}

// complete says whether a chain has all its rules: they were written afresh, as an ADD on a subnet does that is new. Of whatever
// version the rules are, each says in its comment which of how many it is.
func complete(k *kernel.Kernel, e kernel.RuleEvent) bool {
	var count, total int
	sound := true
	err := k.EachRuleComment(e.Table, e.Chain, func(comment []byte) {
		count++
		var version string
		var place int
		n, _ := fmt.Sscanf(string(comment), "%s %d/%d ", &version, &place, &total)
		sound = sound && n == 3 && place == count
	})
	return err == nil && sound && count > 0 && count == total
}
