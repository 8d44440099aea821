package simulator

import (
	"slices"
	"strings"
)

type jobErrorEntity struct {
	Code      string  `json:"code"`
	Title     string  `json:"title"`
	Detail    string  `json:"detail"`
	Category  string  `json:"category"`
	Status    *int    `json:"status"`
	Timestamp *string `json:"timestamp"`
}

type jobEntity struct {
	Key                                string          `json:"Key"`
	StartTime                          *string         `json:"StartTime"`
	EndTime                            *string         `json:"EndTime"`
	State                              string          `json:"State"`
	SubState                           *string         `json:"SubState"`
	JobPriority                        string          `json:"JobPriority"`
	SpecificPriorityValue              int             `json:"SpecificPriorityValue"`
	Release                            *releaseEntity  `json:"Release,omitempty"`
	ResourceOverwrites                 *string         `json:"ResourceOverwrites"`
	Source                             string          `json:"Source"`
	SourceType                         string          `json:"SourceType"`
	BatchExecutionKey                  string          `json:"BatchExecutionKey"`
	Info                               *string         `json:"Info"`
	CreationTime                       string          `json:"CreationTime"`
	StartingScheduleID                 *int64          `json:"StartingScheduleId"`
	ReleaseName                        string          `json:"ReleaseName"`
	Type                               string          `json:"Type"`
	InputArguments                     *string         `json:"InputArguments"`
	InputFile                          *string         `json:"InputFile"`
	EnvironmentVariables               string          `json:"EnvironmentVariables"`
	OutputArguments                    *string         `json:"OutputArguments"`
	OutputFile                         *string         `json:"OutputFile"`
	HostMachineName                    *string         `json:"HostMachineName"`
	HasMediaRecorded                   bool            `json:"HasMediaRecorded"`
	HasVideoRecorded                   bool            `json:"HasVideoRecorded"`
	PersistenceID                      *string         `json:"PersistenceId"`
	ResumeVersion                      *int            `json:"ResumeVersion"`
	StopStrategy                       *string         `json:"StopStrategy"`
	RuntimeType                        string          `json:"RuntimeType"`
	RequiresUserInteraction            bool            `json:"RequiresUserInteraction"`
	ReleaseVersionID                   int64           `json:"ReleaseVersionId"`
	EntryPointPath                     *string         `json:"EntryPointPath"`
	OrganizationUnitID                 int64           `json:"OrganizationUnitId"`
	OrganizationUnitFullyQualifiedName *string         `json:"OrganizationUnitFullyQualifiedName"`
	FolderKey                          string          `json:"FolderKey"`
	Reference                          string          `json:"Reference"`
	ProcessType                        string          `json:"ProcessType"`
	ProfilingOptions                   *string         `json:"ProfilingOptions"`
	ResumeOnSameContext                bool            `json:"ResumeOnSameContext"`
	LocalSystemAccount                 string          `json:"LocalSystemAccount"`
	OrchestratorUserIdentity           *string         `json:"OrchestratorUserIdentity"`
	RemoteControlAccess                string          `json:"RemoteControlAccess"`
	StartingTriggerID                  *string         `json:"StartingTriggerId"`
	MaxExpectedRunningTimeSeconds      *int64          `json:"MaxExpectedRunningTimeSeconds"`
	ServerlessJobType                  *string         `json:"ServerlessJobType"`
	ParentJobKey                       *string         `json:"ParentJobKey"`
	ResumeTime                         *string         `json:"ResumeTime"`
	LastModificationTime               *string         `json:"LastModificationTime"`
	JobError                           *jobErrorEntity `json:"JobError"`
	ErrorCode                          *string         `json:"ErrorCode"`
	FpsProperties                      *string         `json:"FpsProperties"`
	TraceID                            string          `json:"TraceId"`
	ParentSpanID                       *string         `json:"ParentSpanId"`
	AutopilotForRobots                 *struct{}       `json:"AutopilotForRobots"`
	FpsContext                         *string         `json:"FpsContext"`
	ID                                 int64           `json:"Id"`
}

func (j *job) entity(expand []string) jobEntity {
	f := j.release.folder
	e := jobEntity{
		Key:                                j.key.String(),
		StartTime:                          stampText(j.started),
		EndTime:                            stampText(j.ended),
		State:                              j.state,
		JobPriority:                        j.priority,
		SpecificPriorityValue:              j.specific,
		Source:                             j.source,
		SourceType:                         j.source,
		BatchExecutionKey:                  j.batchKey.String(),
		Info:                               orNull(j.info),
		CreationTime:                       j.created.Format(storedStamp),
		ReleaseName:                        j.release.name,
		Type:                               "Unattended",
		InputArguments:                     orNull(j.input),
		OutputArguments:                    orNull(j.output),
		RuntimeType:                        j.runtime,
		ReleaseVersionID:                   j.release.versionID,
		OrganizationUnitID:                 f.id,
		OrganizationUnitFullyQualifiedName: &f.path,
		FolderKey:                          f.key.String(),
		Reference:                          j.reference,
		ProcessType:                        "Process",
		RemoteControlAccess:                "None",
		LastModificationTime:               stampText(j.modified),
		ErrorCode:                          orNull(j.errorCode),
		TraceID:                            j.trace.String(),
		ID:                                 j.id,
	}
	if !j.started.IsZero() {
		e.HostMachineName, e.LocalSystemAccount = new(robotHost), robotAccount
	}
	if j.state == stateFaulted {
		e.JobError = &jobErrorEntity{
			Code: j.errorCode, Title: "The job has faulted.", Detail: j.info, Category: "User", Timestamp: e.EndTime,
		}
	}
	if slices.ContainsFunc(expand, func(name string) bool { return strings.HasPrefix(name, "Release") }) {
		e.Release = new(j.release.entity(nil))
	}
	return e
}
