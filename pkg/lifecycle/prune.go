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
	networks, err := conflist.Load(h.Netconf)
	if err != nil {
		return nil, err
	}
	for _, warning := range networks.Warnings {
		h.Warn(warning)
	}
	all, err := h.Runtime.List()
	if err != nil {
		return nil, err
	}
	var errs []error
	for _, n := range networks.All {
		if n.Maker != conflist.Fairway || n.Predefined() || n.ConfigOnly || !f.passes(n) || len(attachment.Of(n.Name, all)) > 0 {
			continue
		}
		switch err := h.Remove(ctx, n); {
		case errors.Is(err, attachment.ErrInUse): // since a moment, or on another host
		case err != nil:
			errs = append(errs, err)
		default:
			removed = append(removed, n.Name)
		}
	}
	return removed, errors.Join(errs...)
}
