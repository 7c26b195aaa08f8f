"""What of CloudFormation is simulated: every resource type and property that has an effect here.

CloudFormation in ministack accepts any property and drops what it does not know, so a template
could pass here that does something else on AWS. Here, what is not in this table is refused.
A property is a dotted path; list items share their list's path; ``*`` takes whatever lies below.
"""

from collections.abc import Iterator

SIMULATED: dict[str, str] = {
    "AWS::CloudWatch::Alarm": """
        ActionsEnabled AlarmActions AlarmDescription AlarmName ComparisonOperator
        DatapointsToAlarm Dimensions.Name Dimensions.Value EvaluationPeriods ExtendedStatistic
        InsufficientDataActions MetricName Namespace OKActions Period Statistic Tags.* Threshold
        TreatMissingData Unit
    """,
    "AWS::Events::Rule": """
        Description EventPattern.* Name State Tags.* Targets.Arn Targets.DeadLetterConfig.Arn
        Targets.Id Targets.Input Targets.RetryPolicy.MaximumEventAgeInSeconds
        Targets.RetryPolicy.MaximumRetryAttempts
    """,
    "AWS::Glue::Database": "CatalogId DatabaseInput.Description DatabaseInput.Name",
    "AWS::Glue::Job": """
        Command.Name Command.PythonVersion Command.ScriptLocation DefaultArguments.* Description
        ExecutionClass ExecutionProperty.MaxConcurrentRuns GlueVersion MaxRetries Name
        NonOverridableArguments.* NumberOfWorkers Role Tags.* Timeout WorkerType
    """,
    "AWS::IAM::Role": """
        AssumeRolePolicyDocument.* Description ManagedPolicyArns MaxSessionDuration Path
        Policies.PolicyDocument.* Policies.PolicyName RoleName Tags.*
    """,
    "AWS::KMS::Alias": "AliasName TargetKeyId",
    "AWS::KMS::Key": "Description EnableKeyRotation KeyPolicy.* Tags.*",
    "AWS::Lambda::Alias": "Description FunctionName FunctionVersion Name",
    "AWS::Lambda::EventInvokeConfig": """
        DestinationConfig.OnFailure.Destination DestinationConfig.OnSuccess.Destination
        FunctionName MaximumEventAgeInSeconds MaximumRetryAttempts Qualifier
    """,
    "AWS::Lambda::Function": """
        Architectures Code.S3Bucket Code.S3Key Code.S3ObjectVersion Description
        Environment.Variables.* FunctionName Handler Layers LoggingConfig.LogFormat
        LoggingConfig.LogGroup MemorySize Role Runtime Tags.* Timeout
    """,
    "AWS::Lambda::LayerVersion": """
        CompatibleArchitectures CompatibleRuntimes Content.S3Bucket Content.S3Key
        Content.S3ObjectVersion Description LayerName
    """,
    "AWS::Lambda::Permission": "Action FunctionName Principal SourceAccount SourceArn",
    "AWS::Logs::LogGroup": "KmsKeyId LogGroupName RetentionInDays Tags.*",
    "AWS::RedshiftServerless::Namespace": """
        AdminPasswordSecretKmsKeyId AdminUsername DbName DefaultIamRoleArn IamRoles KmsKeyId
        LogExports ManageAdminPassword NamespaceName Tags.*
    """,
    "AWS::RedshiftServerless::Workgroup": """
        BaseCapacity ConfigParameters.ParameterKey ConfigParameters.ParameterValue
        EnhancedVpcRouting MaxCapacity NamespaceName PubliclyAccessible SecurityGroupIds
        SubnetIds Tags.* WorkgroupName
    """,
    "AWS::S3::Bucket": """
        BucketEncryption.ServerSideEncryptionConfiguration.BucketKeyEnabled
        BucketEncryption.ServerSideEncryptionConfiguration.ServerSideEncryptionByDefault.*
        BucketName
        LifecycleConfiguration.Rules.AbortIncompleteMultipartUpload.DaysAfterInitiation
        LifecycleConfiguration.Rules.ExpirationInDays LifecycleConfiguration.Rules.Id
        LifecycleConfiguration.Rules.NoncurrentVersionExpiration.NoncurrentDays
        LifecycleConfiguration.Rules.Prefix LifecycleConfiguration.Rules.Status
        LifecycleConfiguration.Rules.Transitions.StorageClass
        LifecycleConfiguration.Rules.Transitions.TransitionInDays
        NotificationConfiguration.EventBridgeConfiguration.EventBridgeEnabled
        OwnershipControls.Rules.ObjectOwnership PublicAccessBlockConfiguration.BlockPublicAcls
        PublicAccessBlockConfiguration.BlockPublicPolicy
        PublicAccessBlockConfiguration.IgnorePublicAcls
        PublicAccessBlockConfiguration.RestrictPublicBuckets Tags.*
        VersioningConfiguration.Status
    """,
    "AWS::S3::BucketPolicy": "Bucket PolicyDocument.*",
    "AWS::SNS::Subscription": "Endpoint Protocol TopicArn",
    "AWS::SNS::Topic": "DisplayName KmsMasterKeyId Tags.* TopicName",
    "AWS::SNS::TopicPolicy": "PolicyDocument.* Topics",
    "AWS::SQS::Queue": """
        MessageRetentionPeriod QueueName RedrivePolicy.* SqsManagedSseEnabled Tags.*
        VisibilityTimeout
    """,
    "AWS::SQS::QueuePolicy": "PolicyDocument.* Queues",
    "AWS::StepFunctions::StateMachine": """
        Definition.* DefinitionString
        LoggingConfiguration.Destinations.CloudWatchLogsLogGroup.LogGroupArn
        LoggingConfiguration.IncludeExecutionData LoggingConfiguration.Level RoleArn
        StateMachineName StateMachineType Tags.* TracingConfiguration.Enabled
    """,
}

# A change of these properties replaces the resource; of the other types, ministack knows.
REPLACING: dict[str, tuple[str, ...]] = {
    "AWS::CloudWatch::Alarm": ("AlarmName",),
    "AWS::Events::Rule": ("Name",),
    "AWS::KMS::Alias": ("AliasName",),
    "AWS::KMS::Key": (),
    "AWS::Lambda::Alias": ("FunctionName", "Name"),
    "AWS::Lambda::EventInvokeConfig": ("FunctionName", "Qualifier"),
    "AWS::Lambda::Permission": (
        "Action",
        "FunctionName",
        "Principal",
        "SourceAccount",
        "SourceArn",
    ),
    "AWS::Logs::LogGroup": ("LogGroupName",),
    "AWS::RedshiftServerless::Namespace": ("NamespaceName",),
    "AWS::RedshiftServerless::Workgroup": ("NamespaceName", "WorkgroupName"),
    "AWS::S3::Bucket": ("BucketName",),
    "AWS::S3::BucketPolicy": ("Bucket",),
    "AWS::SNS::Subscription": ("Endpoint", "Protocol", "TopicArn"),
    "AWS::SNS::TopicPolicy": (),
    "AWS::SQS::QueuePolicy": (),
}

# Where a resource takes the stack's tags; of the other types, ministack knows.
TAGGED: dict[str, tuple[str, str]] = {
    "AWS::Events::Rule": ("Tags", "list"),
    "AWS::Glue::Job": ("Tags", "map"),
    "AWS::RedshiftServerless::Namespace": ("Tags", "list"),
    "AWS::RedshiftServerless::Workgroup": ("Tags", "list"),
    "AWS::S3::Bucket": ("Tags", "list"),
}

_PATHS = {type_: frozenset(paths.split()) for type_, paths in SIMULATED.items()}


def unsupported(resource_type: str, properties: dict) -> list[str]:
    """Return the property paths of a resource in a template that are not simulated."""
    paths = set(_leaves(properties)) if properties else set()
    return sorted(path for path in paths if not _covered(resource_type, path))


def _covered(resource_type: str, path: str) -> bool:
    paths = _PATHS[resource_type]
    parts = path.split(".")
    return path in paths or any(
        ".".join(parts[:n]) + ".*" in paths for n in range(1, len(parts) + 1)
    )


def _leaves(value: object, path: str = "") -> Iterator[str]:
    """Yield the paths of a template's values; a function is a value, Fn::If is both of its."""
    if isinstance(value, list):
        for item in value:
            yield from _leaves(item, path)
    elif isinstance(value, dict) and "Fn::If" in value:
        yield from _leaves(value["Fn::If"][1:], path)
    elif isinstance(value, dict) and any(key == "Ref" or key.startswith("Fn::") for key in value):
        yield path
    elif isinstance(value, dict) and value:
        for key, item in value.items():
            yield from _leaves(item, f"{path}.{key}" if path else key)
    else:
        yield path
