#pragma once
// One function per command; each is in a file of its own and returns the exit code of the process
// (docs/operating.md).

#include "arguments.hpp"

namespace vflbus::cli {

int run(const BrokerArguments& arguments);
int run(const ActorArguments& arguments);
int run(const LaunchArguments& arguments);
int run(const TrainJoinedArguments& arguments);
int run(const TuneArguments& arguments);
int run(const CheckArguments& arguments);
int run(const FeaturesArguments& arguments);
int run(const PsiArguments& arguments);
int run(const PredictArguments& arguments);
int run(const SynthArguments& arguments);
int run(const InspectArguments& arguments);
int run(const SplitArguments& arguments);
int run(const ConfigCheckArguments& arguments);
int run(const ConfigReferenceArguments& arguments);
int run(const HealthArguments& arguments);
int run(const PrerequisitesArguments& arguments);
int run(const AgentArguments& arguments);
int run(const ExportArguments& arguments);
int run(const RunsArguments& arguments);
int run(const NodesArguments& arguments);
int run(const TopArguments& arguments);
int run(const UiArguments& arguments);
int run(const RunShowArguments& arguments);
int run(const RunStopArguments& arguments);
int run(const RunLogsArguments& arguments);
int run(const RunCompareArguments& arguments);
int run(const RunPlotArguments& arguments);
int run(const RunTraceArguments& arguments);
int run(const RunRemoveArguments& arguments);
int run(const ModelShowArguments& arguments);
int run(const ReportArguments& arguments);
int run(const CompletionArguments& arguments);
int run(const ManualArguments& arguments);
int run(const SubmitArguments& arguments);
int run(const RunPredictArguments& arguments);
int run(const AuditVerifyArguments& arguments);
int run(const AuditShowArguments& arguments);
int run(const ApprovalArguments& arguments);
int run(const GrantArguments& arguments);
int run(const VersionArguments& arguments);
/// `actor --role master --serve`
int serve(const ActorArguments& arguments);
int run(const KeysNewArguments& arguments);
int run(const KeysShowArguments& arguments);
int run(const KeysFingerprintArguments& arguments);
int run(const AllowArguments& arguments);
int run(const RevokeArguments& arguments);
int run(const MembersArguments& arguments);
int run(const InviteArguments& arguments);
int run(const JoinArguments& arguments);
int run(const KeysRotateArguments& arguments);
int run(const PreflightArguments& arguments);

}  // namespace vflbus::cli
