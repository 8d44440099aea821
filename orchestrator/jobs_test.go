package orchestrator

import (
	"encoding/json"
	"errors"
	"net/http"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

const startedBody = `{"@odata.context":"https://cloud.uipath.com/acme/prod/orchestrator_/odata/$metadata#Jobs","value":[{"Key":"8652d3bb-0d4c-4a55-9b9e-9a6a2c1f0c01",
"StartTime":null,"EndTime":null,"State":"Pending","JobPriority":"Normal","SpecificPriorityValue":45,"ResourceOverwrites":null,"Source":"Manual","SourceType":"Manual",
"BatchExecutionKey":"7d382470-2b1e-4f6e-8f7b-0c8f4a9d1e02","Info":null,"CreationTime":"2026-02-24T04:33:13.0971234Z","StartingScheduleId":null,
"ReleaseName":"Pay invoices","Type":"Unattended","InputArguments":"{\"in_Date\":\"2026-02-24\"}","InputFile":null,"EnvironmentVariables":"","OutputArguments":null,
"OutputFile":null,"HostMachineName":null,"HasMediaRecorded":false,"HasVideoRecorded":false,"PersistenceId":null,"ResumeVersion":null,"StopStrategy":null,
"RuntimeType":"Unattended","RequiresUserInteraction":false,"ReleaseVersionId":6020788,"EntryPointPath":"Main.xaml","OrganizationUnitId":7791618,
"OrganizationUnitFullyQualifiedName":"Finance","Reference":"run-7","ProcessType":"Process","Machine":null,"ProfilingOptions":null,"ResumeOnSameContext":false,
"LocalSystemAccount":"","OrchestratorUserIdentity":null,"RemoteControlAccess":"None","StartingTriggerId":null,"MaxExpectedRunningTimeSeconds":null,
"ServerlessJobType":null,"ParentJobKey":null,"ResumeTime":null,"LastModificationTime":"2026-02-24T04:33:13.0971234Z","JobError":null,"ErrorCode":null,
"FpsProperties":null,"TraceId":null,"ParentSpanId":null,"Id":12287}]}`

func TestStartJobs(t *testing.T) {
	t.Parallel()
	client := newTestClient(t, func(w http.ResponseWriter, r *http.Request) {
		if got, want := r.Method+" "+r.URL.Path, "POST /acme/prod/orchestrator_/odata/Jobs/UiPath.Server.Configuration.OData.StartJobs"; got != want {
			t.Errorf("got %s, want %s", got, want)
		}
		want := map[string]any{"startInfo": map[string]any{
			"ReleaseKey": "5b754c63", "Strategy": "ModernJobsCount", "JobsCount": 1.0, "JobPriority": "High", "RuntimeType": "Unattended",
			"InputArguments": `{"in_Date":"2026-02-24"}`, "Reference": "run-7", "BatchExecutionKey": "7d382470-2b1e-4f6e-8f7b-0c8f4a9d1e02",
			"RobotIds": []any{9826.0}, "Source": "Manual",
		}}
		if diff := cmp.Diff(want, bodyOf(t, r)); diff != "" {
			t.Errorf("body (-want +got):\n%s", diff)
		}
		reply(w, 201, startedBody)
	})
	jobs, err := client.StartJobs(t.Context(), testFolder, StartInfo{
		ReleaseKey: "5b754c63", Strategy: "ModernJobsCount", JobsCount: 1, JobPriority: "High", RuntimeType: "Unattended",
		InputArguments: `{"in_Date":"2026-02-24"}`, Reference: "run-7", BatchExecutionKey: "7d382470-2b1e-4f6e-8f7b-0c8f4a9d1e02", Source: "Manual",
		Extra: map[string]json.RawMessage{"RobotIds": json.RawMessage(`[9826]`), "jobscount": json.RawMessage(`50`)},
	})
	if err != nil {
		t.Fatal(err)
	}
	created := time.Date(2026, 2, 24, 4, 33, 13, 97123400, time.UTC)
	want := []Job{{
		ID: 12287, Key: "8652d3bb-0d4c-4a55-9b9e-9a6a2c1f0c01", State: "Pending", InputArguments: `{"in_Date":"2026-02-24"}`, Reference: "run-7",
		BatchExecutionKey: "7d382470-2b1e-4f6e-8f7b-0c8f4a9d1e02", ReleaseName: "Pay invoices", Source: "Manual", SourceType: "Manual", Type: "Unattended",
		JobPriority: "Normal", RuntimeType: "Unattended", CreationTime: &created, LastModificationTime: &created, OrganizationUnitID: 7791618,
		OrganizationUnitFullyQualifiedName: "Finance",
	}}
	if diff := cmp.Diff(want, jobs); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestStartInfoIsWrittenTheSameByBothEncoders(t *testing.T) {
	t.Parallel()
	info := StartInfo{ReleaseName: "a", SpecificPriorityValue: 45}
	got, err := json.Marshal(info)
	if want := `{"ReleaseName":"a","SpecificPriorityValue":45}`; err != nil || string(got) != want {
		t.Errorf("got %s, %v, want %s", got, err, want)
	}
}

func TestStartJobsErrors(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		status   int
		body     string
		want     Kind
		text     string
		notFound bool
	}{
		"process missing":   {404, `{"message":"The job's associated process could not be found"}`, Rejected, "could not be found", true},
		"no unattended":     {409, `{"message":"no user","errorCode":1671}`, Rejected, "409 Conflict: no user (error code 1671)", false},
		"priority":          {400, `{"message":"Cannot set","errorCode":1009}`, Rejected, "error code 1009", false},
		"no job":            {201, `{"value":[]}`, Uncertain, "201 Created with JSON that lacks the jobs it started", false},
		"job without id":    {201, `{"value":[{"Id":1},{"Key":"k"}]}`, Uncertain, "lacks Id of a job", false},
		"value null":        {201, `{"value":null}`, Uncertain, "lacks the jobs it started", false},
		"a job by itself":   {201, `{"Id":1,"Key":"k"}`, Uncertain, "lacks the jobs it started", false},
		"operation timeout": {502, `{"message":"Job Operation Timeout"}`, Uncertain, "502 Bad Gateway: Job Operation Timeout", false},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			jobs, err := newTestClient(t, answers(test.status, test.body)).StartJobs(t.Context(), testFolder, StartInfo{ReleaseKey: "r"})
			e := asError(t, err, test.want)
			wantText(t, e.Error(), "start jobs: ", test.text)
			if jobs != nil || e.Class != Writes || errors.Is(e, ErrNotFound) != test.notFound {
				t.Errorf("got %v, class %s, %v", jobs, e.Class, e)
			}
		})
	}
}

func TestStartsThatAreNotSent(t *testing.T) {
	t.Parallel()
	client := newTestClient(t, func(http.ResponseWriter, *http.Request) { t.Error("a call was made") })
	for want, info := range map[string]StartInfo{
		"ReleaseKey and ReleaseName are empty: give one":  {},
		`BatchExecutionKey "x" is no GUID: give one like`: {ReleaseKey: "r", BatchExecutionKey: "x"},
		`member "RobotIds" of Extra is not valid JSON`:    {ReleaseKey: "r", Extra: map[string]json.RawMessage{"RobotIds": json.RawMessage(`[`)}},
	} {
		_, err := client.StartJobs(t.Context(), testFolder, info)
		wantText(t, asError(t, err, Rejected).Error(), "start jobs: "+want)
	}
}

func TestJob(t *testing.T) {
	t.Parallel()
	client := newTestClient(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/acme/prod/orchestrator_/odata/Jobs(5)" {
			reply(w, 404, `{"message":"Job does not exist.","errorCode":1002}`)
			return
		}
		reply(w, 200, `{"Id":5,"State":"Faulted","Info":"boom","JobError":{"code":"Robot","status":null},"ErrorCode":"Robot","EndTime":"2026-05-14T12:06:50.357Z"}`)
	})
	job, err := client.Job(t.Context(), testFolder, 5)
	if err != nil || !job.Ended() || job.JobError.Code != "Robot" || job.EndTime.Nanosecond() != 357000000 {
		t.Errorf("got %+v, %v", job, err)
	}
	_, err = client.Job(t.Context(), testFolder, 6)
	if e := asError(t, err, Rejected); !errors.Is(e, ErrNotFound) {
		t.Errorf("%v is not ErrNotFound", e)
	}
	for _, state := range []string{"Pending", "Running", "Stopping", "Terminating", "Suspended", "Resumed", ""} {
		if (&Job{State: state}).Ended() {
			t.Errorf("a job that is %q counts as ended", state)
		}
	}
}

func TestSameArguments(t *testing.T) {
	t.Parallel()
	tests := []struct {
		sent, got string
		want      bool
	}{
		{"", "", true},
		{"", `{"default":1}`, true},
		{"{}", "", true},
		{"{}", "null", true},
		{`{"a":1}`, `{"a":1}`, true},
		{`{"a":1,"b":2}`, `{"b":2.0,"a":1}`, true},
		{`{"a":1}`, "", false},
		{`{"a":1}`, `{"a":2}`, false},
		{`{"a":"2026-01-01T00:00:00.000Z"}`, `{"a":"2026-01-01T00:00:00Z"}`, false},
		{`not json`, `not json`, true},
		{`not json`, `{}`, false},
	}
	for _, test := range tests {
		if got := SameArguments(test.sent, test.got); got != test.want {
			t.Errorf("%s and %s: got %t, want %t", test.sent, test.got, got, test.want)
		}
	}
}

func FuzzStartedJobs(f *testing.F) {
	f.Add([]byte(startedBody))
	f.Add([]byte(`{"@odata.count":1,"value":[{"Id":1,"JobError":{}}]}`))
	f.Add([]byte(`{"value":[]}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		var started startedJobs
		if newAnswer(201, jsonType, string(body)).decode(&started) != nil {
			return
		}
		if len(*started.Value) == 0 {
			t.Fatal("an answer without jobs was let through")
		}
		for _, job := range *started.Value {
			if job.ID == 0 {
				t.Error("a job without id was let through")
			}
		}
	})
}

func BenchmarkDecodeStartedJobs(b *testing.B) {
	a := newAnswer(201, jsonType, startedBody)
	b.SetBytes(int64(len(startedBody)))
	b.ReportAllocs()
	for b.Loop() {
		if err := a.decode(new(startedJobs)); err != nil {
			b.Fatal(err)
		}
	}
}

func FuzzSameArguments(f *testing.F) {
	for _, pair := range [][2]string{{"", "null"}, {`{"a":1}`, `{"a":1.0}`}, {"null", "{}"}, {" {} ", ""}, {"7", "7.0"}, {`{"a":1} x`, `{"a":1}`}, {"null\v", "{}"}} {
		f.Add(pair[0], pair[1])
	}
	f.Fuzz(func(t *testing.T, a, b string) {
		if !SameArguments(a, a) {
			t.Errorf("%q is not the same as itself", a)
		}
		sent := func(s string) bool { return !isBlank([]byte(s)) }
		if sent(a) && sent(b) && SameArguments(a, b) != SameArguments(b, a) {
			t.Errorf("%q and %q: the order matters", a, b)
		}
	})
}
