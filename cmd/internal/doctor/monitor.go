package doctor

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// setSync is what to do about it.
const setSync = "set sync_interval: always in the jetstream block of nats-server.conf, on each server"

// syncInterval looks at how soon what is acknowledged is on disk. Clients of
// NATS are not told; the server's monitoring tells.
func (l *server) syncInterval(ctx context.Context) {
	if l.MonitorURL == "" {
		l.skip(checkSync, "see for yourself, or name the server's monitoring with --nats-monitor http://host:8222: "+setSync, "not visible to clients of NATS")
		return
	}
	ctx, cancel := l.within(ctx)
	defer cancel()
	seen, err := readMonitor(ctx, l.MonitorURL)
	switch {
	case err != nil:
		l.warn(checkSync, "give the address of the server's monitoring (http_port, or -m) with --nats-monitor", "%v", err)
	case seen.Config.SyncAlways:
		l.ok(checkSync, "always on this server: what it acknowledges is on its disk%s", l.others())
	case seen.Config.SyncInterval == 0:
		l.warn(checkSync, setSync, "the monitoring shows none")
	default:
		l.warn(checkSync, setSync, "%s: what was acknowledged within it is lost with the machine, and may be done twice or not at all", seen.Config.SyncInterval)
	}
}

// others: each server of a cluster has settings of its own.
func (l *server) others() string {
	if l.nc == nil || l.nc.ConnectedClusterName() != "" {
		return " (of a cluster, look at each server)"
	}
	return ""
}

// monitored is what is of interest in /jsz.
type monitored struct {
	Config struct {
		SyncInterval time.Duration `json:"sync_interval"`
		SyncAlways   bool          `json:"sync_always"`
	} `json:"config"`
}

const maxMonitored = 1 << 20

func readMonitor(ctx context.Context, address string) (monitored, error) {
	var seen monitored
	u, err := url.Parse(strings.TrimSuffix(address, "/") + "/jsz")
	if err != nil || u.Host == "" {
		return seen, errors.New("the monitoring URL is no web address")
	}
	shown := u.Redacted()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return seen, fmt.Errorf("%s: the monitoring URL is no web address", shown)
	}
	client := &http.Client{Transport: &http.Transport{Proxy: http.ProxyFromEnvironment, DisableKeepAlives: true}}
	resp, err := client.Do(req)
	if err != nil {
		if failed, ok := errors.AsType[*url.Error](err); ok {
			err = failed.Err
		}
		return seen, fmt.Errorf("%s: %w", shown, err)
	}
	defer resp.Body.Close() //nolint:errcheck // it has been read
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxMonitored))
	if err != nil || resp.StatusCode != http.StatusOK || json.Unmarshal(text, &seen) != nil {
		return seen, fmt.Errorf("%s answers %s, and not what nats-server does", shown, resp.Status)
	}
	return seen, nil
}
