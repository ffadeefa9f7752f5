// Command pusher pushes with client_golang: pusher BASE_URL SCENARIO WORKER_ID PUSHES (see ../curl.sh).
package main

import (
	"fmt"
	"net/http"
	"os"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/push"
	"github.com/prometheus/common/expfmt"
)

const job = "go_batch"

func items(registry *prometheus.Registry) {
	counter := prometheus.NewCounterVec(prometheus.CounterOpts{Name: "e2e_items_total", Help: "Items."}, []string{"kind"})
	registry.MustRegister(counter)
	counter.WithLabelValues("a").Inc()
	counter.WithLabelValues("b").Add(2.5)
}

func latency(registry *prometheus.Registry) {
	histogram := prometheus.NewHistogram(prometheus.HistogramOpts{
		Name: "e2e_latency_seconds", Help: "Latency.", Buckets: []float64{0.1, 0.5, 1},
	})
	registry.MustRegister(histogram)
	for _, seconds := range []float64{0.05, 0.3, 0.7, 2.0} {
		histogram.Observe(seconds)
	}
}

func size(registry *prometheus.Registry) {
	summary := prometheus.NewSummary(prometheus.SummaryOpts{
		Name: "e2e_size_bytes", Help: "Size.", Objectives: map[float64]float64{0.5: 0.05, 0.99: 0.001},
	})
	registry.MustRegister(summary)
	summary.Observe(100)
	summary.Observe(250)
}

func lastValue(registry *prometheus.Registry, value int) {
	gauge := prometheus.NewGauge(prometheus.GaugeOpts{Name: "e2e_last_value", Help: "Last value."})
	registry.MustRegister(gauge)
	gauge.Set(float64(value))
}

func grouped(registry *prometheus.Registry) {
	counter := prometheus.NewCounter(prometheus.CounterOpts{Name: "e2e_grouped_total", Help: "Grouped."})
	registry.MustRegister(counter)
	counter.Inc()
}

func send(base, scenario string, worker, i int) (supported bool, err error) {
	// A push holds what happened since the last one, nothing older.
	registry := prometheus.NewRegistry()
	pusher := push.New(base, job).Gatherer(registry).Client(&http.Client{Timeout: 10 * time.Second})
	switch scenario {
	case "counter": // in client_golang's default format, which is delimited protobuf
		items(registry)
	case "histogram":
		latency(registry)
	case "summary":
		size(registry)
	case "gauge":
		lastValue(registry, worker*1000+i)
	case "grouping":
		grouped(registry)
		pusher.Grouping("path", "/a/b c").Grouping("empty", "")
	case "put":
		items(registry)
		return true, pusher.Push()
	case "protobuf":
		items(registry)
		pusher.Format(expfmt.FmtProtoDelim)
	case "openmetrics": // version 0.0.1, and without the closing "# EOF", which no push of client_golang has
		items(registry)
		pusher.Format(expfmt.FmtOpenMetrics)
	case "text":
		items(registry)
		pusher.Format(expfmt.FmtText)
	case "delete":
		return true, pusher.Delete()
	default:
		return false, nil
	}
	return true, pusher.Add()
}

func main() {
	base, scenario := os.Args[1], os.Args[2]
	worker, _ := strconv.Atoi(os.Args[3])
	pushes, _ := strconv.Atoi(os.Args[4])
	for i := 0; i < pushes; i++ {
		supported, err := send(base, scenario, worker, i)
		if !supported {
			fmt.Println("unsupported")
			os.Exit(3)
		}
		if err != nil {
			fmt.Fprintf(os.Stderr, "go %s: push %d: %v\n", scenario, i, err)
			os.Exit(1)
		}
	}
}
