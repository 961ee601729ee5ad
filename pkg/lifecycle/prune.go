package lifecycle

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/fairway-cni/fairway/pkg/attachment"
	"github.com/fairway-cni/fairway/pkg/conflist"
	"github.com/fairway-cni/fairway/pkg/state/sweep"
)

// PruneKeys are what a filter of Prune can ask for.
const PruneKeys = "label, label!, until"

// PruneFilter says which networks are for pruning.
type PruneFilter struct {
	with, without []string  // labels, KEY or KEY=VALUE
	until         time.Time // zero: any
}

// NewPruneFilter reads KEY=VALUE each: label and label! as often as you like, until once: a time (RFC 3339, or of its
// date alone), a number of seconds since 1970, or a duration before now.
func NewPruneFilter(texts []string, now time.Time) (PruneFilter, error) {
	var f PruneFilter
	for _, text := range texts {
		key, value, ok := strings.Cut(text, "=")
		if strings.HasSuffix(key, "!") && key != "label!" || !ok || value == "" {
			return PruneFilter{}, fmt.Errorf("filter %q: write KEY=VALUE, with a key of %s", text, PruneKeys)
		}
		switch key {
		case "label":
			f.with = append(f.with, value)
		case "label!":
			f.without = append(f.without, value)
		case "until":
			if !f.until.IsZero() {
				return PruneFilter{}, errors.New("filter until is given twice: give it once")
			}
			var err error
			if f.until, err = pointInTime(value, now); err != nil {
				return PruneFilter{}, fmt.Errorf("filter %q: %w", text, err)
			}
		default:
			return PruneFilter{}, fmt.Errorf("filter %q: there is no key %q: use one of %s", text, key, PruneKeys)
		}
	}
	return f, nil
}

func pointInTime(text string, now time.Time) (time.Time, error) {
	if d, err := time.ParseDuration(text); err == nil {
		return now.Add(-d), nil
	}
	if seconds, err := strconv.ParseInt(text, 10, 64); err == nil {
		return time.Unix(seconds, 0), nil
	}
	for _, layout := range []string{time.RFC3339, "2006-01-02T15:04:05", "2006-01-02T15:04", "2006-01-02"} {
		if at, err := time.ParseInLocation(layout, text, now.Location()); err == nil {
			return at, nil
		}
	}
	return time.Time{}, errors.New("write a time like 2026-01-02T15:04:05Z, or a duration like 24h")
}

func (f PruneFilter) passes(n conflist.Network) bool {
	for _, label := range f.with {
		if !n.HasLabel(label) {
			return false
		}
	}
	// As with Docker, one that has all of them is spared.
	if len(f.without) > 0 && !slices.ContainsFunc(f.without, func(label string) bool { return !n.HasLabel(label) }) {
		return false
	}
	return f.until.IsZero() || !n.Created.After(f.until)
}

// Prune removes the networks of fairway's own that no container is on and that pass the filter. It goes on past errors;
// removed are the names of those that are gone.
func (h Host) Prune(ctx context.Context, f PruneFilter) (removed []string, err error) {
	gone, others, err := h.pruneUnused(ctx, f)
	errs := []error{err}
	for _, n := range others {
		switch err := h.Remove(ctx, n); {
		case errors.Is(err, attachment.ErrInUse): // since a moment, or on another host
		case err != nil:
			errs = append(errs, err)
		default:
			gone = append(gone, n)
		}
	}
	for _, n := range gone {
		removed = append(removed, n.Name)
	}
	return removed, errors.Join(errs...)
}

// pruneUnused removes those networks of which the host has nothing, by one look at all of it; others are the ones to be removed one by one.
// Nobody of fairway's makes, removes or attaches to any of them meanwhile.
func (h Host) pruneUnused(ctx context.Context, f PruneFilter) (removed, others []conflist.Network, err error) {
	lock, err := conflist.Acquire(h.Netconf)
	if err != nil {
		return nil, nil, err
	}
	defer lock.Release()
	networks, err := conflist.Load(h.Netconf)
	if err != nil {
		return nil, nil, err
	}
	for _, warning := range networks.Warnings {
		h.Warn(warning)
	}
	var candidates []conflist.Network
	var names []string
	for _, n := range networks.All {
		if n.Maker == conflist.Fairway && !n.Predefined() && !n.ConfigOnly && f.passes(n) {
			candidates, names = append(candidates, n), append(names, n.Name)
		}
	}
	if len(candidates) == 0 {
		return nil, nil, nil
	}
	locked, unlock, err := h.Runtime.LockIdle(names)
	if err != nil {
		return nil, nil, err
	}
	defer unlock()
	seen, err := h.look(networks)
	if err != nil {
		return nil, nil, err
	}
	recorded, err := h.Runtime.Touched()
	if err != nil {
		return nil, nil, err
	}
	quiet := h.newQuiet(ctx, seen)
	for _, n := range candidates {
		switch {
		case quiet.alive(n.Name):
		case n.Agent || !locked[n.Name] || recorded(n.Name) || !quiet.unused(n) || discardReservations(ctx, n) != nil:
			others = append(others, n)
		default:
			removed = append(removed, n)
		}
	}
	if len(removed) == 0 {
		return nil, others, nil
	}
	return removed, others, errors.Join(onHost(sweep.PruneShared), lock.RemoveAll(removed))
}
